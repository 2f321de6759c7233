//! The opening handshake, for libraries that leave it to others.

use base64::{Engine, prelude::BASE64_STANDARD};
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Failure;

/// Reads the request, and answers it. A client that sends messages before it has the answer is
/// refused, since the library could not be given them.
///
/// # Errors
/// If the request is not one for a WebSocket.
pub async fn accept(stream: &mut TcpStream) -> Result<(), Failure> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if head.len() > MAX_HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Err("no request".into());
        }
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(length) = request.parse(&head)? else { continue };
        let is_key = |name: &str| name.eq_ignore_ascii_case("sec-websocket-key");
        let key = request.headers.iter().find(|header| is_key(header.name));
        let (Some(key), true) = (key, length == head.len()) else {
            return Err("not a request for a WebSocket".into());
        };
        let answer = answer(key.value);
        return Ok(stream.write_all(answer.as_bytes()).await?);
    }
}

fn answer(key: &[u8]) -> String {
    let hash = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let accept = BASE64_STANDARD.encode(hash);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

const MAX_HEAD_BYTES: usize = 8192;
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
