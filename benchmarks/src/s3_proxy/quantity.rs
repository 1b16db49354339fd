//! Reads times, rates and bandwidths as people write them on a command line: `30ms`, `0.05`, `90MB/s`.

/// A time in milliseconds: `30ms`, `5s`, `1.5s`, `2m`. Without a unit it is refused, as it could be either.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match text[digits.len()..].trim() {
        "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 6e4,
        _ => return Err(format!("{text} is not a time such as 30ms or 5s")),
    };
    match digits.trim().parse::<f64>() {
        Ok(amount) if amount.is_finite() && amount >= 0.0 => Ok((amount * unit_ms).round() as u64),
        _ => Err(format!("{text} is not a time such as 30ms or 5s")),
    }
}

/// Bytes per second: `90MB/s`, `90MB`, `1.5GiB/s`, `500000`; 0 is no limit.
pub fn parse_bandwidth(text: &str) -> Result<u64, String> {
    let amount = text.trim().trim_end_matches("/s");
    let bytes = amount.parse::<bytesize::ByteSize>().map(|size| size.as_u64());
    bytes.map_err(|_| format!("{text} is not a bandwidth such as 90MB/s"))
}

/// A share of requests, from 0 to 1.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.0..=1.0).contains(rate));
    rate.ok_or_else(|| format!("{text} is not a rate from 0 to 1, such as 0.05"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(["30ms", "5s", "1.5s", "2m", "0ms"].map(parse_duration_ms), [30, 5000, 1500, 120_000, 0].map(Ok));
        for text in ["30", "", "ms", "-5ms", "5h", "x ms"] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bandwidths_are_bytes_per_second() {
        let given = ["90MB/s", "90MB", "1MiB/s", "500", "0"].map(parse_bandwidth);
        assert_eq!(given, [90_000_000, 90_000_000, 1 << 20, 500, 0].map(Ok));
        assert!(parse_bandwidth("fast").is_err());
        assert!(parse_bandwidth("90MB/m").is_err());
    }

    #[test]
    fn rates_are_probabilities() {
        assert_eq!(parse_rate("0.05"), Ok(0.05));
        for text in ["1.1", "-0.1", "NaN", "5%"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
