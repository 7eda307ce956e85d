//! `palisade init`.

use super::{key, print};
use crate::{conf::schema, server};
use http::uri::{Authority, Scheme, Uri};
use palisade_contract::Descriptor;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

const TEMPLATE: &str = include_str!("init.yaml");

const EXAMPLE: &str = "\
Example:
  palisade init my-gateway --upstream http://127.0.0.1:3000
  palisade run --conf my-gateway

Then every request needs the key that was printed:
  curl -i http://127.0.0.1:8080/
  curl -i -H 'apikey: KEY' http://127.0.0.1:8080/";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// The directory to write; it must be empty, or not be there yet.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The API to protect: `http://HOST:PORT` or `https://HOST`.
    #[arg(long, value_name = "URL")]
    upstream: Uri,
    /// Where the gateway listens for clients.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// Where probes, metrics and the state of the gateway are.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9901", value_parser = address)]
    admin: SocketAddr,
}

/// An address that can be written down: the system's choice of a port could not be told to anybody.
fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(address),
        Ok(_) => Err("the port is 0: write the one that clients are to use".to_owned()),
        Err(_) => {
            Err("write an address and a port: `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`".to_owned())
        }
    }
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let origin = Origin::parse(&args.upstream)?;
    if args.listen == args.admin {
        return Err(format!("`--listen {}` and `--admin {}` are the same address", args.listen, args.admin));
    }
    let made = key::generate()?;
    create(&args.dir)?;
    let schema =
        serde_json::to_string_pretty(&schema::schema(registry)).map_err(|error| error.to_string())?;
    write(&args.dir.join("palisade.schema.json"), &schema)?;
    write(&args.dir.join("palisade.yaml"), &fill(args, &origin, &key::sha256(&made)))?;
    let (dir, palisade) = (args.dir.display(), invoked());
    print(&format!(
        "Written:\n  \
         {dir}/palisade.yaml          the configuration\n  \
         {dir}/palisade.schema.json   what may stand in it, for editors\n\
         The key of the consumer `first`, shown this once:\n  {made}\n\
         Next:\n  {palisade} run --conf {dir}\n  curl -i -H 'apikey: {made}' http://{}/",
        reached(args.listen)
    ))?;
    // The key is told before: it is not to be had again where, say, the upstream's name does not resolve here.
    server::check(&args.dir, registry).map(drop).map_err(|error| error.to_string())
}

/// The program as it was called, which need not be in the `PATH`.
fn invoked() -> String {
    std::env::args().next().unwrap_or_else(|| "palisade".to_owned())
}

/// Where a listener on all addresses is reached from this machine.
fn reached(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn fill(args: &Args, origin: &Origin, hash: &str) -> String {
    let tls = if origin.tls {
        "    tls: {}                               # its certificate is verified\n"
    } else {
        ""
    };
    // An address stands in quotes where YAML would read a list, and the comment behind it keeps its column.
    let quoted = |address: SocketAddr| match address {
        SocketAddr::V4(_) => address.to_string(),
        SocketAddr::V6(_) => format!("\"{address}\""),
    };
    TEMPLATE
        .replace("ADDRESS", &origin.address)
        .replace("    TLS\n", tls)
        .replace("HASH", hash)
        .replace(&format!("{:22}", "LISTEN"), &format!("{:22}", quoted(args.listen)))
        .replace("ADMIN", &quoted(args.admin))
}

/// Where the API is.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    /// Host and port.
    address: String,
    tls: bool,
}

impl Origin {
    fn parse(url: &Uri) -> Result<Self, String> {
        let wrong = |what: &str| {
            Err(format!("`--upstream {url}`: {what}; write `http://HOST:PORT` or `https://HOST`"))
        };
        let tls = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return wrong("the scheme is neither http nor https"),
        };
        let Some(authority) = url.authority().filter(|authority| is_host(authority)) else {
            return wrong("this is no host name or address");
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return wrong("paths belong to routes");
        }
        let port = match authority.port() {
            None if authority.as_str().len() > authority.host().len() => return wrong("this is no port"),
            None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) if port.as_u16() > 0 => port.as_u16(),
            Some(_) => return wrong("the port is 0"),
        };
        Ok(Origin { address: format!("{}:{port}", authority.host()), tls })
    }
}

/// What goes into the file is a name or an address and nothing else.
fn is_host(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = authority.as_str().strip_prefix(host).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
    });
    let named = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    bare && match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => named(host),
    }
}

fn create(dir: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot create `{}`: {error}", dir.display());
    fs::create_dir_all(dir).map_err(failed)?;
    match fs::read_dir(dir).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(format!("`{}` is not empty: name a new directory", dir.display())),
    }
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    // Never over a file that somebody made in the meantime.
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut out| out.write_all(text.as_bytes()));
    written.map_err(|error| format!("cannot write `{}`: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (url, address, tls) in [
            ("http://127.0.0.1:3000", "127.0.0.1:3000", false),
            ("http://api.internal/", "api.internal:80", false),
            ("https://api_1.example.com", "api_1.example.com:443", true),
            ("https://[::1]:8443", "[::1]:8443", true),
        ] {
            let expected = Origin { address: address.to_owned(), tls };
            assert_eq!(Origin::parse(&url.parse().unwrap()), Ok(expected), "{url}");
        }
        for url in [
            "127.0.0.1:3000",
            "/api",
            "ftp://host",
            "http://host/api",
            "http://host?q",
            "http://user@host",
            "http://user:word@host:80",
            "http://host:0",
            "http://[::1",
            "http://[x]:80",
            "http://a$b",
            "http://a!b",
            "http://host:99999",
            "http://a'b",
            "http://:80",
        ] {
            assert!(
                url.parse::<Uri>().map_err(drop).and_then(|url| Origin::parse(&url).map_err(drop)).is_err(),
                "{url}"
            );
        }
    }

    #[test]
    fn nothing_of_the_template_is_left() {
        let args = |listen: &str| Args {
            dir: PathBuf::new(),
            upstream: Uri::default(),
            listen: listen.parse().unwrap(),
            admin: "[::1]:9".parse().unwrap(),
        };
        let origin = |tls| Origin { address: "h:1".to_owned(), tls };
        for (tls, listen, written) in [
            (true, "0.0.0.0:80", "    address: 0.0.0.0:80 "),
            (false, "[::]:80", "    address: \"[::]:80\" "),
            (false, "[fd00:1:2:3:4:5:6:7]:8443", "    address: \"[fd00:1:2:3:4:5:6:7]:8443\"  "),
        ] {
            let text = fill(&args(listen), &origin(tls), "00ff");
            assert_eq!(text.contains("tls: {}"), tls);
            assert!(text.contains(written), "{text}");
            assert!(text.contains("  address: \"[::1]:9\"\n"), "{text}");
            for left in ["ADDRESS", "TLS", "HASH", "LISTEN", "ADMIN"] {
                assert!(!text.contains(left), "{text}");
            }
        }
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("127.0.0.1:80"), Ok("127.0.0.1:80".parse().unwrap()));
        for bad in [
            "",
            "8080",
            ":8080",
            "localhost:80",
            "127.0.0.1",
            "127.0.0.1:0",
            "[::1]",
            "::1:80",
            "1.2.3.4:99999",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        for (listen, reach) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reached(listen.parse().unwrap()).to_string(), reach);
        }
    }
}
