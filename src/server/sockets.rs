//! The sockets that a process listens on.

use crate::{
    conf::model::Config,
    edge::{
        handover::{self, Taken},
        listen,
    },
};
use palisade_contract::{ConfigError, ConfigErrors, conf::At};
use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
};

/// Sockets by what they are for: `listener NAME`, `admin`, `probes`.
pub(super) struct Sockets(BTreeMap<String, TcpListener>);

impl Sockets {
    /// Binds every address, or takes the socket that a predecessor has bound to it.
    ///
    /// # Errors
    /// All addresses that cannot be listened on, with their places, to be read.
    pub(super) fn bind(config: &Config, taken: &mut Option<Taken>) -> Result<Self, String> {
        let mut wanted: Vec<(String, &At<SocketAddr>)> = config
            .listeners
            .iter()
            .map(|(name, listener)| (format!("listener {name}"), &listener.value.address))
            .collect();
        if let Some(admin) = &config.admin {
            wanted.push(("admin".to_owned(), &admin.value.address));
            wanted.extend(admin.value.probes.iter().map(|address| ("probes".to_owned(), address)));
        }
        let mut bound = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, address) in wanted {
            let socket = match taken.as_mut().and_then(|taken| taken.claim(&name, address.value)) {
                Some(socket) => socket.set_nonblocking(true).map(|()| socket),
                None => listen::bind(address.value),
            };
            match socket {
                Ok(socket) => drop(bound.insert(name, socket)),
                Err(error) => errors.push(refused(config, address, &error)),
            }
        }
        if errors.is_empty() { Ok(Sockets(bound)) } else { Err(ConfigErrors(errors).render(&config.sources)) }
    }

    /// Sockets by their names.
    pub(super) fn of(sockets: Vec<(String, TcpListener)>) -> Self {
        Sockets(sockets.into_iter().collect())
    }

    pub(super) fn take(&mut self, name: &str) -> Result<(TcpListener, SocketAddr), String> {
        let socket = self.0.remove(name).ok_or_else(|| format!("{name}: no socket"))?;
        let address = socket.local_addr().map_err(|error| format!("{name}: {error}"))?;
        Ok((socket, address))
    }

    /// Other handles of the same sockets, for a successor.
    pub(super) fn duplicate(&self) -> io::Result<Vec<(String, TcpListener)>> {
        self.0.iter().map(|(name, socket)| Ok((name.clone(), socket.try_clone()?))).collect()
    }

    /// One `name address` for each line.
    pub(super) fn report(&self) -> String {
        self.0
            .iter()
            .filter_map(|(name, socket)| Some(format!("{name} {}\n", socket.local_addr().ok()?)))
            .collect()
    }
}

fn refused(config: &Config, address: &At<SocketAddr>, error: &io::Error) -> ConfigError {
    let message = format!("cannot listen on {}: {error}", address.value);
    let told = ConfigError::at(address.path.as_str(), message).place(address.place.clone());
    match error.kind() {
        io::ErrorKind::AddrInUse if handover::runs(&config.run_dir, &config.dir) => told.help(
            "a process runs on this directory already: `palisade upgrade` replaces it without losing a request",
        ),
        io::ErrorKind::AddrInUse => told.help(
            "another process listens there (`ss -ltnp` shows it): end it, or write another address here; `palisade upgrade` takes \
             over from a palisade on the same directory",
        ),
        io::ErrorKind::PermissionDenied => {
            told.help("ports below 1024 need the capability CAP_NET_BIND_SERVICE")
        }
        io::ErrorKind::AddrNotAvailable => told.help("no interface of this machine has the address"),
        _ => told,
    }
}
