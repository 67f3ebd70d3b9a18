//! Bytes between two connections, both ways.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

/// Bytes held for each direction while they are under way.
const BUFFER: usize = 32 * 1024;

/// How long a client may take to read an answer that ends its connection, and what of its request is read meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(2);
const UNREAD: u64 = 1024 * 1024;

/// Copies until both sides have ended. The end of one is told to the other, which may go on.
pub async fn both_ways(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    copy_bidirectional_with_sizes(client, server, BUFFER, BUFFER).await?;
    Ok(())
}

/// Copies until the server has ended: for a request after whose answer nothing comes.
pub async fn until_answered(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        // A server may answer and close before it has read everything.
        if copy(&mut from_client, &mut to_server).await.is_ok() {
            drop(to_server.shutdown().await);
        }
        std::future::pending::<()>().await;
    };
    let down = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::select! {
        result = down => result,
        () = up => Ok(()),
    }
}

async fn copy(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length]).await?,
        }
    }
}

/// Sends the last that a client gets. What it has not been read of yet is read, within bounds: closing a socket with unread
/// bytes resets the connection, and the answer could be lost.
pub async fn finish(mut client: TcpStream, answer: &[u8]) -> io::Result<()> {
    client.write_all(answer).await?;
    client.shutdown().await?;
    let mut rest = (&mut client).take(UNREAD);
    let mut sink = tokio::io::sink();
    // That it took too long is as good as its end.
    drop(tokio::time::timeout(LAST_WORDS, tokio::io::copy(&mut rest, &mut sink)).await);
    Ok(())
}
