//! Texts of several kinds, drawn from a seed: what one library makes shorter than another depends
//! on what it is given.

use std::fmt::Write;

/// A kind of text.
pub(crate) struct Corpus {
    pub(crate) name: &'static str,
    piece: fn(&mut Draw, &mut String),
}

/// A generator of numbers, the same in each run, and of words.
pub(crate) struct Draw {
    state: u64,
    words: Vec<&'static str>,
}

pub(crate) const CORPORA: [Corpus; 5] = [
    Corpus { name: "telemetry", piece: telemetry },
    Corpus { name: "chat", piece: chat },
    Corpus { name: "market data", piece: market },
    Corpus { name: "HTML", piece: html },
    Corpus { name: "positions", piece: positions },
];

impl Corpus {
    /// So many messages of so many bytes.
    pub(crate) fn messages(&self, bytes: usize, count: usize) -> Vec<Vec<u8>> {
        let words = WORDS.split_whitespace().collect();
        let mut draw = Draw { state: 0x9e37_79b9_7f4a_7c15, words };
        let message = |_| {
            let mut text = String::new();
            while text.len() < bytes {
                (self.piece)(&mut draw, &mut text);
            }
            text.truncate(bytes);
            text.into_bytes()
        };
        (0..count).map(message).collect()
    }
}

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// Common words come often, as in a language.
    fn word(&mut self) -> &'static str {
        let count = self.words.len() as u64;
        let rank = self.below(count).min(self.below(count));
        self.words[rank as usize]
    }
}

fn telemetry(draw: &mut Draw, text: &mut String) {
    let (sensor, state) = (draw.of(SENSORS), draw.of(&["ok", "ok", "ok", "low", "stale"]));
    let (time, value, battery) = (draw.below(60_000), draw.below(100_000), draw.below(100));
    let _ = write!(
        text,
        "{{\"sensor\":\"{sensor}-{}\",\"time\":17640{time:05},\"value\":{}.{:03},\
         \"unit\":\"C\",\"battery\":{battery},\"state\":\"{state}\"}}\n",
        draw.below(40),
        value / 1000,
        value % 1000,
    );
}

fn chat(draw: &mut Draw, text: &mut String) {
    let _ =
        write!(text, "{{\"from\":\"{}\",\"at\":{},\"text\":\"", draw.word(), draw.below(86_400));
    for _ in 0..4 + draw.below(20) {
        let _ = write!(text, "{} ", draw.word());
    }
    *text += "\"},";
}

fn market(draw: &mut Draw, text: &mut String) {
    let (symbol, price) = (draw.of(SYMBOLS), 10_000 + draw.below(2000));
    let _ = write!(text, "{{\"s\":\"{symbol}\",\"b\":[");
    for level in 0..5 {
        let price = price - level;
        let _ = write!(text, "[\"{}.{:02}\",\"{}\"],", price / 100, price % 100, draw.below(5000));
    }
    *text += "]},";
}

fn html(draw: &mut Draw, text: &mut String) {
    let (class, id) = (draw.of(&["item", "item new", "item read"]), draw.below(10_000));
    let _ = write!(text, "<li class=\"{class}\" data-id=\"{id}\"><a href=\"/items/{id}\">");
    for _ in 0..3 + draw.below(6) {
        let _ = write!(text, "{} ", draw.word());
    }
    *text += "</a><span class=\"badge\">";
    let _ = write!(text, "{}</span></li>\n", draw.below(50));
}

fn positions(draw: &mut Draw, text: &mut String) {
    let _ = write!(
        text,
        "{{\"id\":{},\"lat\":{}.{:05},\"lon\":{}.{:05},\"speed\":{},\"heading\":{}}},",
        draw.below(100_000),
        47 + draw.below(6),
        draw.below(100_000),
        6 + draw.below(9),
        draw.below(100_000),
        draw.below(130),
        draw.below(360),
    );
}

const SENSORS: &[&str] = &["boiler", "roof", "cellar", "garage", "intake", "outlet"];
const SYMBOLS: &[&str] = &["ACME", "GLOBEX", "INITECH", "HOOLI", "UMBRELLA", "STARK", "WAYNE"];
const WORDS: &str = "the a to and of is it in you that we for on can not have was are this with \
    there what about just know will time when think see come work today tomorrow meeting people \
    yesterday coffee question answer morning please thanks server release branch review together \
    window message nothing something problem perhaps lunch ticket quarter garden station evening \
    colour picture letter";
