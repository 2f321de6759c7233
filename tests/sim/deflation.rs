//! [`Deflation`]: permessage-deflate (RFC 7692) of a peer, which keeps real streams of zlib.

use sockeye::{CompressionConfig, Compressor, Decompressor, reactor::SimRandom};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::options::pick;

/// Both directions of one peer, as its server has answered.
pub struct Deflation {
    inflate: Inflate,
    inflate_bits: u8,
    is_inflate_fresh: bool,
    deflate: Deflate,
    is_deflate_fresh: bool,
}

/// What a peer offers.
pub fn offer(random: &mut SimRandom) -> &'static str {
    pick::<&'static str>(
        random,
        &[
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits=12",
            "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; server_max_window_bits=8",
        ],
    )
}

impl Deflation {
    /// What follows from an offer and its answer, with this configuration of the server.
    pub fn agreed(
        offer: &str,
        answer: Option<&str>,
        config: &CompressionConfig,
    ) -> Result<Option<Self>, String> {
        // zlib has no windows of 8 bits.
        let usable = offer.split(", ").find(|offer| {
            offer.starts_with("permessage") && !offer.contains("server_max_window_bits=8")
        });
        let usable = usable.filter(|_| config.decompressor != Decompressor::Off);
        let (offer, answer) = match (usable, answer) {
            (None, None) => return Ok(None),
            (Some(offer), Some(answer)) => (offer, answer),
            _ => return Err(format!("{answer:?} to {offer}")),
        };
        let bits = |text: &str, name: &str| -> Option<Option<u8>> {
            let mut parameters = text.split("; ").skip(1);
            let found = parameters.find(|parameter| parameter.split('=').next() == Some(name))?;
            Some(found.split('=').nth(1).and_then(|value| value.parse().ok()))
        };
        let wrong = |what: &str| Err(format!("{what}: {answer} to {offer}"));
        // RFC 7692 §7.1.1.1: "a server MUST" answer it if it is asked for.
        let server_fresh = bits(answer, "server_no_context_takeover").is_some();
        let asked_fresh = bits(offer, "server_no_context_takeover").is_some();
        if asked_fresh && !server_fresh {
            return wrong("server_no_context_takeover");
        }
        let client_fresh = bits(answer, "client_no_context_takeover").is_some();
        if !client_fresh && config.decompressor == Decompressor::Shared {
            return wrong("client_no_context_takeover");
        }
        let is_dedicated = matches!(config.compressor, Compressor::Dedicated { .. });
        if !server_fresh && !is_dedicated {
            return wrong("server_no_context_takeover");
        }
        // §7.1.2.1: no larger than it is asked for, and not without having been asked for.
        let server_bits =
            match (bits(offer, "server_max_window_bits"), bits(answer, "server_max_window_bits")) {
                (None, None) => 15,
                (Some(Some(most)), Some(Some(bits))) if (9..=most).contains(&bits) => bits,
                _ => return wrong("server_max_window_bits"),
            };
        let client_bits =
            match (bits(offer, "client_max_window_bits"), bits(answer, "client_max_window_bits")) {
                (Some(most), Some(Some(bits))) if bits <= most.unwrap_or(15) => bits,
                (_, None) => 15,
                _ => return wrong("client_max_window_bits"),
            };
        let config = DeflateConfig {
            level: 1,
            window_bits: -i32::from(client_bits),
            mem_level: 1,
            ..DeflateConfig::default()
        };
        Ok(Some(Self {
            inflate: Inflate::new(false, server_bits),
            inflate_bits: server_bits,
            is_inflate_fresh: server_fresh,
            deflate: Deflate::new_with_config(config),
            is_deflate_fresh: client_fresh,
        }))
    }

    /// The payload of a message that was compressed.
    pub fn inflate(&mut self, payload: &[u8]) -> Result<Vec<u8>, String> {
        if self.is_inflate_fresh {
            self.inflate = Inflate::new(false, self.inflate_bits);
        }
        let mut message = Vec::new();
        // In small pieces, so that a reference beyond the window finds nothing.
        let mut piece = [0; 300];
        for mut input in [payload, &TAIL] {
            loop {
                let before = (self.inflate.total_in(), self.inflate.total_out());
                let status = self.inflate.decompress(input, &mut piece, InflateFlush::SyncFlush);
                let used = usize::try_from(self.inflate.total_in() - before.0).expect("small");
                let made = usize::try_from(self.inflate.total_out() - before.1).expect("small");
                message.extend(&piece[..made]);
                input = &input[used..];
                match status {
                    Ok(Status::Ok | Status::BufError) if made == piece.len() => {}
                    Ok(Status::Ok | Status::BufError) if input.is_empty() => break,
                    status => return Err(format!("{status:?} after {message:?}")),
                }
            }
        }
        Ok(message)
    }

    /// A message as the payload of a frame with RSV1 (RFC 7692 §7.2.1).
    pub fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        if self.is_deflate_fresh {
            self.deflate.reset();
        }
        let mut payload = vec![0; zlib_rs::compress_bound(message.len()) + 100];
        let before = self.deflate.total_out();
        self.deflate.compress(message, &mut payload, DeflateFlush::SyncFlush).expect("room");
        let made = usize::try_from(self.deflate.total_out() - before).expect("as much as fits");
        payload.truncate(made);
        assert!(payload.ends_with(&TAIL), "a flush ends so");
        payload.truncate(made - TAIL.len());
        payload
    }
}

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
