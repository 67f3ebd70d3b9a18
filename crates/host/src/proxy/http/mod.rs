//! HTTP proxying (RFC 9110 and 9112): `CONNECT host:port`, and requests for an `http://` URL.
//!
//! A request for a URL is sent on with `Connection: close`, so that a connection carries one request, and what follows its
//! head is copied as it is: a message's body is never looked at.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::dial::DialError;
use super::places::Activity;
use super::{Server, relay};

mod head;

pub use head::Request;
#[cfg(feature = "fuzzing")]
pub use head::check;
use head::{BadRequest, Kind, MAX_HEAD, parse};

/// Reads a request's head, whose first byte is read already; nothing if the client went away or has its answer.
pub async fn request(client: &mut TcpStream, first: u8) -> io::Result<Option<Request>> {
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

/// Answers a request.
pub async fn serve(
    mut client: TcpStream,
    request: Request,
    server: &Server,
    activity: &Activity,
) -> io::Result<()> {
    let mut upstream = match server.dial(&request.target).await {
        Ok(upstream) => upstream,
        Err(error) => return relay::finish(client, &refusal(&error)).await,
    };
    let relaying = async {
        match &request.kind {
            Kind::Tunnel => {
                upstream.write_all(&request.rest).await?;
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await?;
                relay::both_ways(&mut client, &mut upstream, activity).await
            }
            Kind::Forward(head) => {
                upstream.write_all(head).await?;
                upstream.write_all(&request.rest).await?;
                relay::until_answered(&mut client, &mut upstream, activity).await
            }
        }
    };
    relay::while_active(activity, relaying).await
}

fn refusal(error: &DialError) -> Vec<u8> {
    let (status, text) = match error {
        DialError::Denied { .. } => ("403 Forbidden", error.to_string()),
        DialError::Deadline { .. } => ("504 Gateway Timeout", error.to_string()),
        DialError::Lookup { source, .. } | DialError::Connect { source, .. } => {
            ("502 Bad Gateway", format!("{error}: {source}"))
        }
    };
    answer(status, &format!("agent-vm: {text}"))
}

fn answer(status: &str, text: &str) -> Vec<u8> {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    )
    .into_bytes()
}
