//! Ports of this machine that nobody else gets.

use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

/// A port where nobody listens, unless the test sees to it. As long as this is held the system gives it to nobody who asks
/// for any port; who asks for this one can listen there.
pub struct Port(Socket);

impl Port {
    pub fn free() -> Port {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // Whoever listens there says the same, and bound without listening it is in nobody's way then.
        socket.set_reuse_address(true).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Port(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    pub fn number(&self) -> u16 {
        self.address().port()
    }
}
