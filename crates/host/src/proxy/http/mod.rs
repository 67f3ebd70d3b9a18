//! HTTP proxying (RFC 9110 and 9112): `CONNECT host:port`, and requests for an `http://` URL.
//!
//! A request for a URL is forwarded with `Connection: close`, so that each connection carries one request, and
//! everything after the head is copied unchanged: the proxy never parses a message body.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::dial::DialError;
use super::places::Activity;
use super::relay;
use super::server::Server;
use super::target::ProxyTarget;

mod head;

pub use head::ProxyRequest;
#[cfg(feature = "fuzzing")]
pub use head::check;
use head::{BadRequest, Kind, MAX_HEAD, parse};

/// Reads a request's head after its first byte; returns `None` if the client has closed or was already answered.
pub async fn request(client: &mut TcpStream, first: u8) -> io::Result<Option<ProxyRequest>> {
    let mut head = Vec::with_capacity(1024);
    head.push(first);
    let bad = loop {
        match parse(&head) {
            Ok(Some(request)) => return Ok(Some(request)),
            Ok(None) if head.len() >= MAX_HEAD => break BadRequest::TooLarge,
            Ok(None) => {}
            Err(bad) => break bad,
        }
        let room = MAX_HEAD - head.len();
        if (&mut *client).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    };
    let status = match bad {
        BadRequest::TooLarge => "431 Request Header Fields Too Large",
        _ => "400 Bad Request",
    };
    client.write_all(&answer(status, &bad.to_string())).await?;
    Ok(None)
}

/// Serves one request.
pub async fn serve(
    mut client: TcpStream,
    request: ProxyRequest,
    server: &Server,
    activity: &Activity,
) -> io::Result<()> {
    let mut upstream = match server.dial(&request.target).await {
        Ok(upstream) => upstream,
        Err(error) => return relay::finish(client, &refusal(&error)).await,
    };
    let relay = server.relay(&upstream, activity);
    let upstream = &mut upstream.stream;
    let relaying = async {
        match &request.kind {
            Kind::Tunnel => {
                relay.send_first(upstream, &request.rest).await?;
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
                relay::both_ways(&mut client, upstream, relay).await
            }
            Kind::Forward(head) => {
                relay.send_first(upstream, head).await?;
                relay.send_first(upstream, &request.rest).await?;
                relay::until_answered(&mut client, upstream, relay).await
            }
        }
    };
    relay::while_active(activity, relaying).await
}

/// The reason is in the body and, in short, in the status line: most clients show only the status line when a tunnel is
/// refused.
fn refusal(error: &DialError) -> Vec<u8> {
    let unreached =
        |target: &ProxyTarget, source: &io::Error| format!("502 not reached ({}): {target}", source.kind());
    let (status, text) = match error {
        DialError::Denied { target, denial } => {
            (format!("403 {}: {target}", denial.phrase()), error.to_string())
        }
        DialError::Deadline { target } => (format!("504 no answer in time: {target}"), error.to_string()),
        DialError::Lookup { name, source } => {
            (format!("502 not resolved: {name}"), format!("{error}: {source}"))
        }
        DialError::Connect { target, source } | DialError::Inside { target, source } => {
            (unreached(target, source), format!("{error}: {source}"))
        }
    };
    answer(&of_one_line(&status), &format!("agent-vm: {text}"))
}

/// The maximum length of a status, in bytes; a host name has at most 253.
const MAX_STATUS: usize = 400;

/// Makes a text valid in a status line: printable ASCII, of bounded length.
fn of_one_line(status: &str) -> String {
    let printable = |character: char| {
        if (' '..='~').contains(&character) {
            character
        } else {
            '?'
        }
    };
    status.chars().map(printable).take(MAX_STATUS).collect()
}

fn answer(status: &str, text: &str) -> Vec<u8> {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::denial::Denial;
    use crate::proxy::target::TargetHost;

    fn status_of(error: &DialError) -> String {
        let answer = String::from_utf8(refusal(error)).expect("UTF-8");
        answer.lines().next().expect("a status line").to_owned()
    }

    #[test]
    fn a_refusal_has_its_reason_in_the_status_line() {
        let target = |host: &str| ProxyTarget {
            host: TargetHost::parse(host).expect(host),
            port: 443,
        };
        let denied = |host: &str, denial| DialError::Denied {
            target: target(host),
            denial,
        };
        let source = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let address = [10, 0, 0, 5].into();
        let kind = "a private address";
        for (error, status) in [
            (
                denied("a.test", Denial::NotListed),
                "403 not in network.allow: a.test:443",
            ),
            (
                denied("[::1]", Denial::NotListed),
                "403 not in network.allow: [::1]:443",
            ),
            (
                denied("10.0.0.5", Denial::TooWide { kind }),
                "403 not in network.allow as a private address: 10.0.0.5:443",
            ),
            (
                denied("a.test", Denial::LeadsTo { address, kind }),
                "403 leads to a private address that is not in network.allow: a.test:443",
            ),
            (
                denied("10.0.0.5", Denial::NotPublic { kind }),
                "403 not public but a private address: 10.0.0.5:443",
            ),
            (
                denied("a.test", Denial::LeadsToNotPublic { address, kind }),
                "403 leads to a private address, not to a public one: a.test:443",
            ),
            (
                denied("intranet", Denial::NotPublicName),
                "403 not a public name: intranet:443",
            ),
            (
                DialError::Lookup {
                    name: "a.test".into(),
                    source: source(),
                },
                "502 not resolved: a.test",
            ),
            (
                DialError::Connect {
                    target: target("a.test"),
                    source: source(),
                },
                "502 not reached (connection refused): a.test:443",
            ),
            (
                DialError::Deadline {
                    target: target("a.test"),
                },
                "504 no answer in time: a.test:443",
            ),
        ] {
            assert_eq!(status_of(&error), format!("HTTP/1.1 {status}"));
        }
        // A client cannot make it contain another line.
        assert_eq!(
            of_one_line("403 a\r\nSet-Cookie: b\u{e9}\u{1b}[m"),
            "403 a??Set-Cookie: b??[m"
        );
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert!(status_of(&denied(&long, Denial::NotListed)).ends_with(&format!("{long}:443")));
        assert_eq!(of_one_line(&"a".repeat(5000)).len(), MAX_STATUS);
    }
}
