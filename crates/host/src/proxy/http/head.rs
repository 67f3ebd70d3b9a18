//! Parses and rewrites the head of a proxied request. Does no input or output.

use httparse::Status;

use crate::proxy::target::{ProxyTarget, TargetHost};

/// The maximum size of a request's head, and the maximum number of header fields in it.
pub(super) const MAX_HEAD: usize = 64 * 1024;
const MAX_FIELDS: usize = 256;

/// Header fields between the client and the proxy (RFC 9110, 7.6.1), and the one that the proxy sets itself.
const OURS: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "upgrade",
    "host",
];

/// A client's request.
#[derive(Debug, PartialEq, Eq)]
pub struct ProxyRequest {
    pub(super) target: ProxyTarget,
    pub(super) kind: Kind,
    /// Bytes that were read after the head.
    pub(super) rest: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tunnel,
    /// Forward the request, with this head.
    Forward(Vec<u8>),
}

/// A request that is not valid for a proxy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRequest {
    #[error("This is not HTTP/1.0 or HTTP/1.1")]
    Syntax,
    #[error("The head of a request is at most {} KiB, with {MAX_FIELDS} fields", MAX_HEAD / 1024)]
    TooLarge,
    #[error("CONNECT takes host:port")]
    Authority,
    #[error("This is a proxy: it takes CONNECT host:port, and requests for http:// URLs")]
    Target,
}

/// The request at the start of `bytes`; `None` while its head is incomplete.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<ProxyRequest>, BadRequest> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(BadRequest::TooLarge),
        Err(_) => return Err(BadRequest::Syntax),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(BadRequest::Syntax);
    };
    let rest = bytes[length..].to_vec();
    if method == "CONNECT" {
        let target = authority(target, None).ok_or(BadRequest::Authority)?;
        let kind = Kind::Tunnel;
        return Ok(Some(ProxyRequest { target, kind, rest }));
    }
    let (authority_text, path) = split_url(target).ok_or(BadRequest::Target)?;
    let target = authority(authority_text, Some(80)).ok_or(BadRequest::Target)?;
    let forwarded = rewrite(method, authority_text, path, version, head.headers);
    let kind = Kind::Forward(forwarded);
    Ok(Some(ProxyRequest { target, kind, rest }))
}

/// Splits an `http://` URL into the authority and the rest.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let scheme = url.get(..7)?;
    if !scheme.eq_ignore_ascii_case("http://") {
        return None;
    }
    let rest = &url[7..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // Clients send user and password in a header field; the part before the last @ does not belong to the host.
    Some((authority.rsplit('@').next()?, path))
}

/// `host:port`, or only `host` if there is a `fallback` port.
fn authority(text: &str, fallback: Option<u16>) -> Option<ProxyTarget> {
    // An IPv6 address has brackets here, so its last colon is not taken for the port's.
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit());
            (
                host,
                if port.is_empty() {
                    fallback
                } else {
                    port.parse().ok().filter(|_| digits)
                },
            )
        }
        _ => (text, fallback),
    };
    let port = port.filter(|port| *port != 0)?;
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    Some(ProxyTarget {
        host: TargetHost::parse(host)?,
        port,
    })
}

/// The head that the server receives.
fn rewrite(
    method: &str,
    authority: &str,
    path: &str,
    version: u8,
    fields: &[httparse::Header<'_>],
) -> Vec<u8> {
    let is = |field: &httparse::Header<'_>, name: &str| field.name.eq_ignore_ascii_case(name);
    let listed = |field: &httparse::Header<'_>| {
        let mut connections = fields.iter().filter(|other| is(other, "connection"));
        connections.any(|connection| {
            let names = connection.value.split(|byte| *byte == b',');
            names
                .map(<[u8]>::trim_ascii)
                .any(|name| name.eq_ignore_ascii_case(field.name.as_bytes()))
        })
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = path.split('#').next().unwrap_or_default();
    let mut head = format!("{method} {slash}{path} HTTP/1.{version}\r\nHost: {authority}\r\n").into_bytes();
    let mut field = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    for passed in fields {
        if !OURS.iter().any(|name| is(passed, name)) && !listed(passed) {
            field(passed.name, passed.value);
        }
    }
    // Some WebSocket clients do not use a tunnel.
    match fields
        .iter()
        .find(|upgrade| is(upgrade, "upgrade") && listed(upgrade))
    {
        Some(upgrade) => {
            field("Connection", b"Upgrade");
            field("Upgrade", upgrade.value);
        }
        None => field("Connection", b"close"),
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Panics if the forwarded `bytes` are not exactly one request, to the host that it names.
#[cfg(feature = "fuzzing")]
pub fn check(bytes: &[u8]) {
    let Ok(Some(request)) = parse(bytes) else { return };
    let length = bytes.len() - request.rest.len();
    assert!(bytes.ends_with(&request.rest) && request.target.port != 0);
    // The head ends at the same byte, whatever follows it and in whatever pieces it arrives.
    assert_eq!(parse(&bytes[..length - 1]), Ok(None));
    assert!(
        parse(&bytes[..length]).is_ok_and(|again| again.is_some_and(|again| again.target == request.target))
    );
    let Kind::Forward(forwarded) = request.kind else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS + 4];
    let mut head = httparse::Request::new(&mut fields);
    assert_eq!(head.parse(&forwarded), Ok(Status::Complete(forwarded.len())));
    assert!(head.path.is_some_and(|path| path.starts_with('/')));
    let values = |name: &str| {
        let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        head.headers
            .iter()
            .filter(same)
            .map(|field| field.value)
            .collect::<Vec<_>>()
    };
    let [host] = values("host")[..] else {
        panic!("one field says the host")
    };
    let host = std::str::from_utf8(host).ok();
    assert_eq!(
        host.and_then(|host| authority(host, Some(80))),
        Some(request.target)
    );
    assert_eq!(values("connection").len(), 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16) -> ProxyTarget {
        let host = TargetHost::parse(host).expect(host);
        ProxyTarget { host, port }
    }

    fn head_of(text: &str) -> String {
        match parse(text.as_bytes()) {
            Ok(Some(ProxyRequest {
                kind: Kind::Forward(head),
                ..
            })) => String::from_utf8(head).expect("UTF-8"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn connect_asks_for_a_tunnel() {
        for (text, host, port) in [
            ("example.com:443", "example.com", 443),
            ("EXAMPLE.com.:80", "example.com", 80),
            ("[::1]:8080", "[::1]", 8080),
            ("10.0.0.5:1", "10.0.0.5", 1),
        ] {
            let request = parse(format!("CONNECT {text} HTTP/1.1\r\nHost: other\r\n\r\nearly").as_bytes());
            let expected = ProxyRequest {
                target: target(host, port),
                kind: Kind::Tunnel,
                rest: b"early".into(),
            };
            assert_eq!(request, Ok(Some(expected)), "{text}");
        }
        for text in [
            "example.com",
            "example.com:",
            ":443",
            "a:0",
            "a:65536",
            "a:+1",
            "::1:80",
            "[::1]",
            "u@a:1",
            "a/b:1",
        ] {
            let request = parse(format!("CONNECT {text} HTTP/1.1\r\n\r\n").as_bytes());
            assert_eq!(request, Err(BadRequest::Authority), "{text}");
        }
    }

    #[test]
    fn a_url_is_sent_on_as_the_server_expects_it() {
        assert_eq!(
            head_of(
                "POST http://user@Example.com:8080/a?b#c HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: x\r\nA: 1\r\n\
                 Connection: keep-alive, B\r\nB: 2\r\nProxy-Connection: x\r\nContent-Length: 3\r\n\r\nabc"
            ),
            "POST /a?b HTTP/1.1\r\nHost: Example.com:8080\r\nA: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            head_of("GET http://a?q HTTP/1.0\r\n\r\n"),
            "GET /?q HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            head_of("GET HTTP://[::1]/ HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
    }

    #[test]
    fn the_host_of_a_url_is_where_it_goes_whatever_else_the_request_says() {
        for (url, host, port) in [
            ("http://a.test/", "a.test", 80),
            ("http://a.test:81", "a.test", 81),
            ("http://b.test@a.test/", "a.test", 80),
            ("http://b.test:80@a.test:82/@c", "a.test", 82),
            ("http://a.test?x=http://b.test/", "a.test", 80),
            ("http://a.test#@b.test", "a.test", 80),
        ] {
            let request = parse(format!("GET {url} HTTP/1.1\r\nHost: b.test\r\n\r\n").as_bytes());
            assert_eq!(
                request.ok().flatten().map(|request| request.target),
                Some(target(host, port)),
                "{url}"
            );
        }
        for url in [
            "/",
            "*",
            "https://a/",
            "ftp://a/",
            "http:/a",
            "http://",
            "http://a:b/",
            "http://a\\b/",
            "http://a:1:2/",
        ] {
            let request = parse(format!("GET {url} HTTP/1.1\r\nHost: b.test\r\n\r\n").as_bytes());
            assert_eq!(request, Err(BadRequest::Target), "{url}");
        }
    }

    #[test]
    fn half_a_head_is_waited_for_and_nonsense_is_not() {
        assert_eq!(parse(b"GET http://a/ HTTP/1.1\r\nA: b\r\n"), Ok(None));
        assert_eq!(parse(b"\x16\x03\x01"), Err(BadRequest::Syntax));
        let many = "a: b\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(
            parse(format!("GET http://a/ HTTP/1.1\r\n{many}\r\n").as_bytes()),
            Err(BadRequest::TooLarge)
        );
    }
}
