//! Ways out of a sandbox, by the interfaces themselves: what each is answered.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;

const LOCAL: IpSocketAddress = IpSocketAddress::Ipv4(Ipv4SocketAddress {
    port: 80,
    address: (127, 0, 0, 1),
});

/// Asks for a page, with a body.
pub(crate) fn request() -> String {
    let request = post();
    let body = request.body().expect("it is asked for once");
    let answer = match handle(request, None) {
        Ok(answer) => answer,
        Err(code) => return format!("refused at once: {code:?}"),
    };
    // The body follows, as with any client; that nobody takes it is for the answer to say.
    let stream = body.write().expect("it is asked for once");
    let _ = stream.blocking_write_and_flush(b"a secret");
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Err(code))) => format!("{code:?}"),
        other => format!("no denial: {:?}", other.map(|answer| answer.map(|_| ()))),
    }
}

/// Builds requests without end, and keeps them.
pub(crate) fn hold_requests() -> String {
    let mut held = Vec::new();
    loop {
        let request = post();
        let body = request.body().expect("it is asked for once");
        let stream = body.write().expect("it is asked for once");
        let _ = stream.write(&[b'x'; 4096]);
        held.push((request, body, stream));
    }
}

fn post() -> OutgoingRequest {
    let headers = Fields::new();
    headers
        .append("x-secret", b"a secret")
        .expect("any such header is allowed");
    let request = OutgoingRequest::new(headers);
    request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some("127.0.0.1:80")))
        .and_then(|()| request.set_path_with_query(Some("/")))
        .expect("valid");
    request
}

/// What names, TCP and UDP are answered, a line each.
pub(crate) fn sockets() -> String {
    let network = instance_network();
    let name = resolve_addresses(&network, "localhost").map(|_| ());
    let tcp = create_tcp_socket(IpAddressFamily::Ipv4);
    let connect = tcp.and_then(|socket| {
        socket.start_connect(&network, LOCAL)?;
        socket.subscribe().block();
        socket.finish_connect().map(|_| ())
    });
    let listen = create_tcp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        socket.start_bind(&network, LOCAL)?;
        socket.subscribe().block();
        socket.finish_bind()
    });
    let datagram = create_udp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        socket.start_bind(&network, LOCAL)?;
        socket.subscribe().block();
        socket.finish_bind()
    });
    [
        ("name", name),
        ("connect", connect),
        ("listen", listen),
        ("datagram", datagram),
    ]
    .map(|(what, result)| match result {
        Ok(()) => format!("{what}: it worked"),
        Err(code) => format!("{what}: {}", code.name()),
    })
    .join("\n")
}
