//! [`Date`]: the Date field of responses (RFC 9110 §5.6.7, §6.6.1), formatted once per second.

/// A second of Unix time, formatted as an IMF-fixdate.
///
/// ```
/// use sockeye::http::Date;
/// let date = Date::from_unix(784_111_777);
/// assert_eq!(date.as_str(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Date {
    seconds: u64,
    // Invariant: ASCII; the whole field line, so that a response appends it as one piece.
    line: [u8; LINE_BYTES],
}

impl Date {
    /// The date of this second since the beginning of 1970 (UTC, without leap seconds). Seconds
    /// after the year 9999, which the format cannot show, give its last one.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Self {
        let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        let shown = seconds.min(LAST_SECOND);
        let (year, month, day) = civil(shown / DAY_SECONDS);
        line[6..9].copy_from_slice(nth(&WEEKDAYS, shown / DAY_SECONDS % 7));
        put(&mut line[11..13], day);
        line[14..17].copy_from_slice(nth(&MONTHS, month.saturating_sub(1)));
        put(&mut line[18..22], year);
        put(&mut line[23..25], shown / 3600 % 24);
        put(&mut line[26..28], shown / 60 % 60);
        put(&mut line[29..31], shown % 60);
        Self { seconds, line }
    }

    /// Formats again if `seconds` is another second than the one kept.
    pub fn update(&mut self, seconds: u64) {
        if seconds != self.seconds {
            *self = Self::from_unix(seconds);
        }
    }

    /// The 29 characters of the date.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.line[6..LINE_BYTES - 2]).unwrap_or_default()
    }

    /// The whole field line with its line end.
    pub(super) fn line(&self) -> &[u8; LINE_BYTES] {
        &self.line
    }
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar. Years are counted from
/// March, so that the day that leap years add is their last one.
#[expect(clippy::arithmetic_side_effects, reason = "days up to the year 9999")]
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468; // From 0000-03-01.
    let (era, day) = (day / 146_097, day % 146_097); // 400 years each.
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // From March; 153 days are five months.
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

fn put(place: &mut [u8], mut number: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' | u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

fn nth(names: &[[u8; 3]], index: u64) -> &[u8] {
    usize::try_from(index).ok().and_then(|index| names.get(index)).map_or(b"???", |name| name)
}

const LINE_BYTES: usize = 37;
const DAY_SECONDS: u64 = 86_400;
const LAST_SECOND: u64 = 253_402_300_799;
/// From the day on which 1970 began.
const WEEKDAYS: [[u8; 3]; 7] = [*b"Thu", *b"Fri", *b"Sat", *b"Sun", *b"Mon", *b"Tue", *b"Wed"];
const MONTHS: [[u8; 3]; 12] = [
    *b"Jan", *b"Feb", *b"Mar", *b"Apr", *b"May", *b"Jun", *b"Jul", *b"Aug", *b"Sep", *b"Oct",
    *b"Nov", *b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let cases = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (59, "Thu, 01 Jan 1970 00:00:59 GMT"),
            (68_169_599, "Mon, 28 Feb 1972 23:59:59 GMT"),
            (68_169_600, "Tue, 29 Feb 1972 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_000_000_000, "Sun, 09 Sep 2001 01:46:40 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (seconds, text) in cases {
            assert_eq!(Date::from_unix(seconds).as_str(), text);
        }
    }

    #[test]
    fn days_follow_each_other_for_a_thousand_years() {
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for index in 0..if cfg!(miri) { 1500 } else { 366_000 } {
            assert_eq!(civil(index), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = lengths[usize::try_from(month - 1).unwrap_or_default()]
                + u64::from(leap && month == 2);
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn an_update_shows_the_new_second() {
        let mut date = Date::from_unix(0);
        date.update(1);
        assert_eq!(date, Date::from_unix(1));
        assert_eq!(date.line(), b"Date: Thu, 01 Jan 1970 00:00:01 GMT\r\n");
    }
}
