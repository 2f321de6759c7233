//! Which library deflates and inflates the messages of WebSockets best: time, size and memory.
//!
//! Each figure is the quickest of many passes over the same messages, in time of the processor:
//! what the code costs when nothing else is at work. What each library deflates is inflated by all
//! others, and compared, before anything is timed.

use std::{hint::black_box, time::Duration};

use corpora::CORPORA;
use foreign::memory;
use library::{LIBRARIES, Library, Setting};

mod corpora;
mod foreign;
mod library;

#[path = "../../../../benches/texts/mod.rs"]
mod texts;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("sizes") {
        return compare_at_equal_size();
    }
    println!("| message | use | library | level | deflate us | inflate us | size |");
    println!("| --- | --- | --- | ---: | ---: | ---: | ---: |");
    for (name, bytes, count) in
        [("128 B", 128, 512), ("1 KiB", 1 << 10, 128), ("16 KiB", 16 << 10, 16)]
    {
        let messages = texts::texts(bytes, count);
        for (how, is_dedicated, window_bits) in
            [("shared", false, 15), ("dedicated, 4 KiB", true, 12), ("dedicated, 32 KiB", true, 15)]
        {
            for library in LIBRARIES.iter().filter(|library| library.has_dedicated || !is_dedicated)
            {
                // This one has no other windows than the largest.
                if window_bits < 15 && !library.has_windows {
                    continue;
                }
                for level in LEVELS {
                    let memory_level = library.memory_level;
                    let setting = Setting { level, window_bits, memory_level, is_dedicated };
                    let Figures { deflating, inflating, percent } =
                        measure(library, setting, &messages);
                    println!(
                        "| {name} | {how} | {} | {level} | {deflating:.2} | {inflating:.2} \
                         | {percent:.0} % |",
                        library.name
                    );
                }
            }
        }
    }
    println!(
        "\n| library | compressor, 32 KiB | 4 KiB, less memory | 512 B, least | decompressor |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for library in &LIBRARIES {
        let [full, small, least] =
            [(15, library.memory_level), (12, 4), (9, 1)].map(|(window_bits, memory_level)| {
                if window_bits < 15 && !library.has_windows {
                    return "-".into();
                }
                bytes_of_deflater(library, window_bits, memory_level).to_string()
            });
        println!(
            "| {} | {full} | {small} | {least} | {} |",
            library.name,
            bytes_of_inflater(library)
        );
    }
    compare_at_equal_size();
}

/// What zlib does at 6, and the least level at which zlib-rs makes the same messages no longer: a
/// level has no meaning outside of its library.
fn compare_at_equal_size() {
    let (ours, theirs) = (&LIBRARIES[1], &LIBRARIES[3]);
    print!("\n| text | bytes | {} 6, us | size | inflate us ", theirs.name);
    println!("| {} level | us | size | inflate us | times |", ours.name);
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let measure = |library: &Library, level, messages: &[Vec<u8>]| {
        let memory_level = library.memory_level;
        let setting = Setting { level, window_bits: 15, memory_level, is_dedicated: false };
        measure(library, setting, messages)
    };
    for corpus in &CORPORA {
        for bytes in [256, 1 << 10, 4 << 10] {
            let messages = corpus.messages(bytes, 128);
            let zlib = measure(theirs, 6, &messages);
            let as_short = (1..=9)
                .map(|level| (level, measure(ours, level, &messages)))
                .find(|(_, figures)| figures.percent <= zlib.percent);
            print!("| {} | {bytes} | {zlib} ", corpus.name);
            match as_short {
                Some((level, figures)) => {
                    let times = zlib.both() / figures.both();
                    println!("| {level} | {figures} | {times:.2} |");
                }
                None => println!("| none | | | | |"),
            }
        }
    }
}

/// Microseconds for one message, and what is left of it.
struct Figures {
    deflating: f64,
    inflating: f64,
    percent: f64,
}

impl Figures {
    /// What an echo takes.
    fn both(&self) -> f64 {
        self.deflating + self.inflating
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { deflating, inflating, percent } = self;
        write!(f, "{deflating:.2} | {percent:.1} % | {inflating:.2}")
    }
}

fn measure(library: &Library, setting: Setting, messages: &[Vec<u8>]) -> Figures {
    let mut output = vec![0; 64 << 10];
    let mut deflater = (library.deflater)(setting);
    let mut payloads = Vec::new();
    deflater.reset();
    for message in messages {
        let length = deflater.deflate(message, &mut output);
        payloads.push(output[..length].to_vec());
    }
    for other in LIBRARIES.iter().filter(|other| other.has_dedicated || !setting.is_dedicated) {
        let mut inflater = (other.inflater)(setting.is_dedicated);
        for (message, payload) in messages.iter().zip(&payloads) {
            if !setting.is_dedicated {
                inflater.reset();
            }
            let length = inflater.inflate(payload, &mut output);
            let names = (library.name, other.name);
            assert!(output[..length] == message[..], "{names:?} do not understand each other");
        }
    }
    let deflating = quickest(|| {
        deflater.reset();
        for message in messages {
            black_box(deflater.deflate(black_box(message), &mut output));
        }
    });
    let mut inflater = (library.inflater)(setting.is_dedicated);
    let inflating = quickest(|| {
        inflater.reset();
        for payload in &payloads {
            if !setting.is_dedicated {
                inflater.reset();
            }
            black_box(inflater.inflate(black_box(payload), &mut output));
        }
    });
    let each = |time: Duration| time.as_secs_f64() * 1e6 / messages.len() as f64;
    let total = |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>() as f64;
    let percent = 100.0 * total(&payloads) / total(messages);
    Figures { deflating: each(deflating), inflating: each(inflating), percent }
}

/// The processor's time for one pass, in which nothing came between.
fn quickest(mut pass: impl FnMut()) -> Duration {
    let start = foreign::processor_time();
    let mut quickest = Duration::MAX;
    let mut count = 0;
    while foreign::processor_time() - start < TIME || count < 5 {
        let before = foreign::processor_time();
        pass();
        quickest = quickest.min(foreign::processor_time() - before);
        count += 1;
    }
    quickest
}

/// What a compressor holds when it has seen a message.
fn bytes_of_deflater(library: &Library, window_bits: u8, memory_level: u8) -> usize {
    let (messages, mut output) = (texts::texts(512, 1), vec![0; 4 << 10]);
    let setting = Setting { level: 6, window_bits, memory_level, is_dedicated: false };
    let before = memory::held_bytes();
    let mut deflater = (library.deflater)(setting);
    deflater.deflate(&messages[0], &mut output);
    memory::held_bytes() - before
}

fn bytes_of_inflater(library: &Library) -> usize {
    let (messages, mut output) = (texts::texts(512, 1), vec![0; 4 << 10]);
    let setting = Setting { level: 6, window_bits: 15, memory_level: 8, is_dedicated: false };
    let length = (LIBRARIES[1].deflater)(setting).deflate(&messages[0], &mut output);
    let payload = output[..length].to_vec();
    let before = memory::held_bytes();
    let mut inflater = (library.inflater)(false);
    inflater.inflate(&payload, &mut output);
    memory::held_bytes() - before
}

const LEVELS: [u8; 6] = [1, 2, 3, 6, 7, 9];
/// For how long each figure is looked for.
const TIME: Duration = Duration::from_millis(150);
