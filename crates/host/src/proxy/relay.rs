//! Copies bytes between two connections, in both directions, until both end or have been idle for too long.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::places::{Activity, IDLE};
use super::traffic::Traffic;

/// The buffer size for each direction.
const BUFFER: usize = 32 * 1024;

/// A read of this many bytes suggests that many follow; only a few connections may do such reads at a time.
const MUCH: usize = 8 * 1024;

/// How many connections of one VM may transfer much data in one round of the thread.
const AT_A_TIME: usize = 4;

/// Turns for one VM's connections. All VMs share the thread, which serves everything that is ready in rounds. Without
/// turns, a VM that transfers much over all its connections, perhaps only to itself, would use up most of each round.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Turns {
    pub fn new() -> Self {
        Self(Semaphore::new(AT_A_TIME))
    }

    /// Waits for a turn, and holds it for one round.
    async fn pass(&self) {
        // An error would mean that the semaphore is closed, which it never is.
        let turn = self.0.acquire().await;
        tokio::task::yield_now().await;
        drop(turn);
    }
}

/// How the bytes of one connection are copied.
#[derive(Clone, Copy)]
pub struct Relay<'a> {
    pub activity: &'a Activity,
    pub turns: &'a Turns,
    /// Counts what was read from either side.
    pub traffic: &'a Traffic,
}

impl Relay<'_> {
    /// Sends what the client sent before its connection was copied.
    pub async fn send_first(self, server: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        self.traffic.add_sent(bytes.len());
        server.write_all(bytes).await
    }
}

/// How long a client may take to read the last response, and how many bytes of its request are read meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(2);
const UNREAD: u64 = 1024 * 1024;

/// Runs `relaying` while bytes are transferred; ends it after [`IDLE`] without any.
pub async fn while_active(
    activity: &Activity,
    relaying: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    activity.touch();
    tokio::select! {
        result = relaying => result,
        () = activity.until_idle(IDLE) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Copies until both sides have ended. The end of one side is passed to the other, which may continue.
pub async fn both_ways(client: &mut TcpStream, server: &mut TcpStream, relay: Relay<'_>) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let sent = |length| relay.traffic.add_sent(length);
    let received = |length| relay.traffic.add_received(length);
    let up = copy_to_end(&mut from_client, &mut to_server, relay, sent);
    let down = copy_to_end(&mut from_server, &mut to_client, relay, received);
    tokio::try_join!(up, down).map(drop)
}

/// Copies until the server has ended, for a request whose response is the last on its connection. A server may respond
/// and close before it has read everything.
pub async fn until_answered(
    client: &mut TcpStream,
    server: &mut TcpStream,
    relay: Relay<'_>,
) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let sent = |length| relay.traffic.add_sent(length);
    let received = |length| relay.traffic.add_received(length);
    let up = copy_to_end(&mut from_client, &mut to_server, relay, sent);
    let mut down = pin!(copy_to_end(&mut from_server, &mut to_client, relay, received));
    tokio::select! {
        answered = &mut down => answered,
        // Even if sending the request failed, the response may still arrive.
        _sent = up => down.await,
    }
}

/// Copies, and passes the end of the stream on.
async fn copy_to_end(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    relay: Relay<'_>,
    count: impl Fn(usize),
) -> io::Result<()> {
    copy(from, to, relay, count).await?;
    to.shutdown().await
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    relay: Relay<'_>,
    count: impl Fn(usize),
) -> io::Result<()> {
    let Relay { activity, turns, .. } = relay;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        activity.touch();
        if length == 0 {
            return Ok(());
        }
        count(length);
        let mut left = &buffer[..length];
        while !left.is_empty() {
            match to.write(left).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => left = &left[written..],
            }
            activity.touch();
        }
        if length >= MUCH {
            turns.pass().await;
        }
    }
}

/// Sends the last bytes to a client. Unread bytes of the request are read first, within bounds, because closing a
/// socket with unread bytes resets the connection, which could lose the response.
pub async fn finish(mut client: TcpStream, answer: &[u8]) -> io::Result<()> {
    client.write_all(answer).await?;
    client.shutdown().await?;
    let mut rest = (&mut client).take(UNREAD);
    let mut sink = tokio::io::sink();
    // Taking too long counts as the end.
    drop(tokio::time::timeout(LAST_WORDS, tokio::io::copy(&mut rest, &mut sink)).await);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;
    use tokio::time::{Instant, sleep};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.expect("connect"), other.expect("accept").0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_when_it_has_been_idle_and_not_before() {
        let ((mut program, mut client), (mut server, mut service)) = (pair().await, pair().await);
        let begun = Instant::now();
        let relay = tokio::spawn(async move {
            let activity = Activity::new();
            let turns = Turns::new();
            let traffic = Traffic::default();
            let relay = Relay {
                activity: &activity,
                turns: &turns,
                traffic: &traffic,
            };
            while_active(&activity, both_ways(&mut client, &mut server, relay)).await
        });
        for _ in 0..3 {
            sleep(IDLE * 9 / 10).await;
            let mut byte = [0];
            program.write_all(b"x").await.expect("write");
            service.read_exact(&mut byte).await.expect("read");
        }
        let last = Instant::now();
        let ended = relay.await.expect("no panic");
        assert_eq!(ended.expect_err("idle").kind(), io::ErrorKind::TimedOut);
        assert!(last.elapsed() >= IDLE && begun.elapsed() < IDLE * 5);
        assert_eq!(program.read(&mut [0]).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn a_vm_that_passes_much_leaves_others_their_turns() {
        let (greedy, other) = (Arc::new(Turns::new()), Turns::new());
        let passed = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let (greedy, passed) = (Arc::clone(&greedy), Arc::clone(&passed));
            drop(tokio::spawn(async move {
                loop {
                    greedy.pass().await;
                    passed.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        for _ in 0..100 {
            other.pass().await;
        }
        let passed = passed.load(Ordering::Relaxed);
        assert!(
            (100..=100 * AT_A_TIME + 100).contains(&passed),
            "{passed} beside 100"
        );
    }
}
