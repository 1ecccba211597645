//! Where a camera's name leads, and a connection there.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use crate::{
    config::{Source, is_forbidden},
    hub::Fault,
};

/// The addresses of a camera. Refuses a name that leads to one no camera has.
pub(super) async fn lookup(source: &Source) -> Result<Vec<SocketAddr>, Fault> {
    let (host, port) = (source.host(), source.port());
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]); // the configuration has judged it
    }
    let reason = match tokio::net::lookup_host((host, port)).await {
        Err(error) => format!("cannot find {host}: {error}"),
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            if !addresses.iter().any(|address| is_forbidden(address.ip())) {
                return Ok(addresses);
            }
            format!("{host} leads to a link-local or metadata address, where no camera is asked")
        }
    };
    Err(Fault { code: "connect_failed", reason })
}

/// A connection to the first of the camera's addresses that answers.
pub(super) async fn connect(source: &Source) -> Result<TcpStream, Fault> {
    let addresses = lookup(source).await?;
    let socket = TcpStream::connect(addresses.as_slice()).await.map_err(|error| {
        let reason = format!("cannot connect to {}:{}: {error}", source.host(), source.port());
        Fault { code: "connect_failed", reason }
    })?;
    // Failing to set it costs some delay of small messages, nothing else.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}
