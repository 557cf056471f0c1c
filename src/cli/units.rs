//! Sizes, ages and short texts as docker's tables print them.

/// Decimal units, three significant digits: `7.8MB`.
pub fn size(bytes: u64) -> String {
    scaled(bytes, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// What took so many nanoseconds, three significant digits: `12.3µs`.
pub fn time(nanoseconds: u64) -> String {
    scaled(nanoseconds, &["ns", "µs", "ms", "s"])
}

/// In the unit, each a thousand of the one before it, that leaves the fewest digits.
fn scaled(amount: u64, units: &[&str]) -> String {
    let mut value = amount as f64;
    let mut unit = 0;
    // 999.5 would round to a fourth digit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", three_digits(value), units[unit])
}

/// `%.3g` of a number below 1000.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How long something took or is ago, in the words of docker: `3 weeks`, `About an hour`.
pub fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// At most `width` characters, the last of them `…` where text was cut.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_decimal_units() {
        let sizes = [0, 7, 999, 1000, 1023, 7_797_760, 12_345_678, 187_000_000, 999_900, 1_090_000_000];
        let shown: Vec<String> = sizes.into_iter().map(size).collect();
        let expected = ["0B", "7B", "999B", "1kB", "1.02kB", "7.8MB", "12.3MB", "187MB", "1MB", "1.09GB"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn ages_are_dockers_words() {
        const HOUR: i64 = 3600;
        let ages =
            [0, 1, 59, 60, 180, HOUR, 47 * HOUR, 48 * HOUR, 15 * 24 * HOUR, 70 * 24 * HOUR, 800 * 24 * HOUR];
        let shown: Vec<String> = ages.into_iter().map(duration).collect();
        let expected = [
            "Less than a second",
            "1 second",
            "59 seconds",
            "About a minute",
            "3 minutes",
            "About an hour",
            "47 hours",
            "2 days",
            "2 weeks",
            "2 months",
            "2 years",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis() {
        assert_eq!(ellipsis("abcdef", 4), "abc…");
        assert_eq!(ellipsis("abcd", 4), "abcd");
    }
}
