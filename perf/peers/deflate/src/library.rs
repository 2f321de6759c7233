//! [`Library`]: what can deflate and inflate messages, each behind the same two traits.

use miniz_oxide::{
    DataFormat, MZFlush, MZStatus,
    deflate::{core::CompressorOxide, stream::deflate},
    inflate::stream::{InflateState, MinReset, inflate},
};
use sockeye::{
    base::Outbox,
    ws::{
        Decoder, Event, Limits, Opcode, Role, append_deflated,
        deflate::{Deflaters, History, Inflaters, Inflating},
    },
};
use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush};

use crate::foreign;

/// Makes payloads of messages (RFC 7692 §7.2.1).
pub(crate) trait Deflater {
    /// Begins anew.
    fn reset(&mut self);

    /// Returns how many bytes of the output are the payload.
    fn deflate(&mut self, message: &[u8], output: &mut [u8]) -> usize;
}

/// Makes messages of payloads (RFC 7692 §7.2.2).
pub(crate) trait Inflater {
    /// Begins anew.
    fn reset(&mut self);

    /// Returns how many bytes of the output are the message.
    fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> usize;
}

/// What a compressor is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) level: u8,
    pub(crate) window_bits: u8,
    pub(crate) memory_level: u8,
    /// Whether messages may refer to earlier ones.
    pub(crate) is_dedicated: bool,
}

/// A library, or a way to use it.
pub(crate) struct Library {
    pub(crate) name: &'static str,
    /// Whether messages can refer to earlier ones.
    pub(crate) has_dedicated: bool,
    pub(crate) has_windows: bool,
    /// What it is best used with.
    pub(crate) memory_level: u8,
    pub(crate) deflater: fn(Setting) -> Box<dyn Deflater>,
    pub(crate) inflater: fn(bool) -> Box<dyn Inflater>,
}

pub(crate) const LIBRARIES: [Library; 6] = [
    Library {
        name: "Sockeye",
        has_dedicated: true,
        has_windows: true,
        memory_level: 6,
        deflater: |setting| Box::new(Ours::new(setting)),
        inflater: |is_dedicated| Box::new(OurDecoder::new(is_dedicated)),
    },
    Library {
        name: "zlib-rs",
        has_dedicated: true,
        has_windows: true,
        memory_level: 6,
        deflater: |setting| Box::new(ZlibRs::new(setting)),
        inflater: |_| Box::new(ZlibRsInflate(Inflate::new(false, 15))),
    },
    Library {
        name: "zlib-ng",
        has_dedicated: true,
        has_windows: true,
        memory_level: 8,
        deflater: |setting| Box::new(foreign::zlib_ng::Deflate::new(setting)),
        inflater: |_| Box::new(foreign::zlib_ng::Inflate::new()),
    },
    Library {
        name: "zlib",
        has_dedicated: true,
        has_windows: true,
        memory_level: 8,
        deflater: |setting| Box::new(foreign::zlib::Deflate::new(setting)),
        inflater: |_| Box::new(foreign::zlib::Inflate::new()),
    },
    Library {
        name: "miniz_oxide",
        has_dedicated: true,
        has_windows: false,
        memory_level: 8,
        deflater: |setting| Box::new(Miniz::new(setting)),
        inflater: |_| Box::new(MinizInflate(InflateState::new_boxed(DataFormat::Raw))),
    },
    Library {
        name: "libdeflate",
        has_dedicated: false,
        has_windows: false,
        memory_level: 8,
        deflater: |setting| Box::new(foreign::libdeflate::Deflate::new(setting)),
        inflater: |_| Box::new(foreign::libdeflate::Inflate::new()),
    },
];

/// As the server does it: one compressor for all, and the text of earlier messages.
struct Ours {
    deflaters: Deflaters,
    history: Option<History>,
    setting: Setting,
}

impl Ours {
    fn new(setting: Setting) -> Self {
        let history = setting.is_dedicated.then(|| History::new(setting.window_bits));
        Self { deflaters: Deflaters::new(setting.memory_level), history, setting }
    }
}

impl Deflater for Ours {
    fn reset(&mut self) {
        if let Some(history) = &mut self.history {
            history.clear();
        }
    }

    fn deflate(&mut self, message: &[u8], output: &mut [u8]) -> usize {
        let Setting { window_bits, level, .. } = self.setting;
        let history = self.history.as_ref().map_or(&b""[..], History::bytes);
        let payload = self.deflaters.deflate(message, window_bits, level, history);
        let payload = payload.expect("these become shorter");
        output[..payload.len()].copy_from_slice(payload);
        let length = payload.len();
        if let Some(history) = &mut self.history {
            history.push(message);
        }
        length
    }
}

/// As the server does it: with the frame around, and checks of what is in it.
struct OurDecoder {
    inflaters: Inflaters,
    history: Option<History>,
    decoder: Decoder,
    frame: Vec<u8>,
}

impl OurDecoder {
    fn new(is_dedicated: bool) -> Self {
        Self {
            inflaters: Inflaters::default(),
            history: is_dedicated.then(|| History::new(15)),
            decoder: Decoder::new(Role::Client),
            frame: Vec::new(),
        }
    }
}

impl Inflater for OurDecoder {
    fn reset(&mut self) {
        if let Some(history) = &mut self.history {
            history.clear();
        }
    }

    fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> usize {
        let mut outbox = Outbox::default();
        append_deflated(&mut outbox, Opcode::Text, payload, None);
        self.frame.clear();
        self.frame.extend_from_slice(outbox.contiguous().expect("one piece"));
        let history = self.history.as_mut();
        let mut inflating = Inflating { inflaters: &mut self.inflaters, history };
        let step = self.decoder.next_deflated(&mut self.frame, &Limits::default(), &mut inflating);
        let Some(Event::Message(message)) = step.expect("a good frame").event else {
            panic!("a message");
        };
        output[..message.len()].copy_from_slice(message.as_bytes());
        message.len()
    }
}

/// A compressor that lives as long as its connection.
struct ZlibRs {
    deflate: Deflate,
    is_dedicated: bool,
}

impl ZlibRs {
    fn new(setting: Setting) -> Self {
        let config = DeflateConfig {
            level: setting.level.into(),
            window_bits: -i32::from(setting.window_bits),
            mem_level: setting.memory_level.into(),
            ..DeflateConfig::default()
        };
        Self { deflate: Deflate::new_with_config(config), is_dedicated: setting.is_dedicated }
    }
}

impl Deflater for ZlibRs {
    fn reset(&mut self) {
        self.deflate.reset();
    }

    fn deflate(&mut self, message: &[u8], output: &mut [u8]) -> usize {
        if !self.is_dedicated {
            self.deflate.reset();
        }
        let before = self.deflate.total_out();
        let flush = DeflateFlush::SyncFlush;
        self.deflate.compress(message, output, flush).expect("room for all");
        (self.deflate.total_out() - before) as usize - TAIL.len()
    }
}

struct ZlibRsInflate(Inflate);

impl Inflater for ZlibRsInflate {
    fn reset(&mut self) {
        self.0.reset(false);
    }

    fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> usize {
        let before = self.0.total_out();
        for input in [payload, &TAIL] {
            let made = (self.0.total_out() - before) as usize;
            let flush = InflateFlush::SyncFlush;
            self.0.decompress(input, &mut output[made..], flush).expect("a good payload");
        }
        (self.0.total_out() - before) as usize
    }
}

struct Miniz {
    compressor: Box<CompressorOxide>,
    is_dedicated: bool,
}

impl Miniz {
    fn new(setting: Setting) -> Self {
        let mut compressor = Box::<CompressorOxide>::default();
        compressor.set_format_and_level(DataFormat::Raw, setting.level);
        Self { compressor, is_dedicated: setting.is_dedicated }
    }
}

impl Deflater for Miniz {
    fn reset(&mut self) {
        self.compressor.reset();
    }

    fn deflate(&mut self, message: &[u8], output: &mut [u8]) -> usize {
        if !self.is_dedicated {
            self.compressor.reset();
        }
        let result = deflate(&mut self.compressor, message, output, MZFlush::Sync);
        result.bytes_written - TAIL.len()
    }
}

struct MinizInflate(Box<InflateState>);

impl Inflater for MinizInflate {
    fn reset(&mut self) {
        self.0.reset_as(MinReset);
    }

    fn inflate(&mut self, payload: &[u8], output: &mut [u8]) -> usize {
        let mut made = 0;
        for mut input in [payload, &TAIL] {
            while !input.is_empty() {
                let result = inflate(&mut self.0, input, &mut output[made..], MZFlush::None);
                input = &input[result.bytes_consumed..];
                made += result.bytes_written;
                if result.status.expect("a good payload") == MZStatus::StreamEnd {
                    return made;
                }
            }
        }
        // What waits inside.
        loop {
            let result = inflate(&mut self.0, b"", &mut output[made..], MZFlush::None);
            made += result.bytes_written;
            if result.bytes_written == 0 {
                return made;
            }
        }
    }
}

/// What ends each message, and is not sent.
pub(crate) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
