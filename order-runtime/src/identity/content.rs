//! The content hash of an event: equal for two records with the same content, however their JSON is written.
//!
//! The order of members, whitespace, escapes in strings, and the notation of numbers (`100`, `100.0`, `1e2`) do not change the
//! hash. All members of the data count, including those that no schema names; of the envelope, only name and version count. A
//! member with the value `null` differs from an absent one, as in a JSON merge patch.
//!
//! Deduplication windows store this hash, so its value for a given text must never change; a test pins it.

use xxhash_rust::xxh3::xxh3_64;

use crate::decode::MAX_DEPTH;

const STRING: u64 = 0x9e37_79b9_7f4a_7c15;
const INTEGER: u64 = 0xbf58_476d_1ce4_e5b9;
const DECIMAL: u64 = 0x94d0_49bb_1331_11eb;
const OBJECT: u64 = 0xd6e8_feb8_6659_fd93;
const ARRAY: u64 = 0xa076_1d64_78bd_642f;
const LITERAL: u64 = 0xe703_7ed1_a0b4_28db;
const UNREADABLE: u64 = 0x8ebc_6af0_9c88_c6e3;

/// The hash of an event of that name and version. `data` is the text of its data.
pub(super) fn hash(name: &str, version: u32, data: &str) -> u64 {
    let mut reader = Reader { text: data, at: 0, depth: 0 };
    let event = mix(text_hash(name.as_bytes()), u64::from(version));
    mix(event, reader.value().unwrap_or(UNREADABLE))
}

/// Multiplies to 128 bits and folds the halves, as wyhash does: every bit of both numbers reaches every bit of the result.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ STRING) * u128::from(b ^ ARRAY);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of the product")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// The hash of a text without escapes.
fn text_hash(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut hash = STRING;
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ text.len() as u64, u64::from_le_bytes(last))
}

/// Reads JSON that was checked before. For other text the result is `None` or an arbitrary hash.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        self.blanks();
        self.peek()
    }

    fn value(&mut self) -> Option<u64> {
        match self.next()? {
            b'"' => self.string(),
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'-' | b'0'..=b'9' => Some(number(self.token())),
            _ => Some(mix(LITERAL, text_hash(self.token().as_bytes()))),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<u64>) -> Option<u64> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let hash = read(self);
        self.depth -= 1;
        hash
    }

    /// The hashes of the members are added, so that their order does not matter.
    fn object(&mut self) -> Option<u64> {
        let (mut sum, mut members) = (0_u64, 0_u64);
        loop {
            match self.next()? {
                b'}' => {
                    self.at += 1;
                    return Some(mix(OBJECT ^ members, sum));
                }
                b',' => self.at += 1,
                _ => {
                    let name = self.string()?;
                    (self.next()? == b':').then(|| self.at += 1)?;
                    sum = sum.wrapping_add(mix(name, self.value()?));
                    members += 1;
                }
            }
        }
    }

    fn array(&mut self) -> Option<u64> {
        let (mut hash, mut elements) = (ARRAY, 0_u64);
        loop {
            match self.next()? {
                b']' => {
                    self.at += 1;
                    return Some(mix(hash, elements));
                }
                b',' => self.at += 1,
                _ => {
                    hash = mix(hash, self.value()?);
                    elements += 1;
                }
            }
        }
    }

    /// Reads a number or a literal.
    fn token(&mut self) -> &str {
        let start = self.at;
        while let Some(b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            // Not JSON: skips the rest of the text, so that reading ends.
            self.at = self.text.len();
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Hashes a string in words of eight bytes, while searching for its end.
    fn string(&mut self) -> Option<u64> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        // Marks the bytes of a word that equal `byte` in their highest bits; only the first mark is reliable.
        let equal = |word: u64, byte: u8| {
            let zeros = word ^ (ONES * u64::from(byte));
            zeros.wrapping_sub(ONES) & !zeros & HIGHS
        };
        (self.peek()? == b'"').then_some(())?;
        let start = self.at + 1;
        let rest = self.text.as_bytes().get(start..)?;
        let mut hash = STRING;
        for (index, word) in rest.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            let found = equal(word, b'"') | equal(word, b'\\');
            if found == 0 {
                hash = mix(hash, word);
                continue;
            }
            let before = found.trailing_zeros() / 8;
            let length = index * 8 + before as usize;
            if rest[length] == b'\\' {
                return self.escaped(start);
            }
            self.at = start + length + 1;
            let last = word & !(u64::MAX << (before * 8));
            return Some(mix(hash ^ length as u64, last));
        }
        let length = memchr::memchr2(b'"', b'\\', rest)?;
        if rest[length] == b'\\' {
            return self.escaped(start);
        }
        self.at = start + length + 1;
        Some(text_hash(&rest[..length]))
    }

    /// The hash of a string with escapes: that of the unescaped text.
    fn escaped(&mut self, start: usize) -> Option<u64> {
        let text = self.text.get(start - 1..)?;
        let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let string = strings.next()?.ok()?;
        self.at = start - 1 + strings.byte_offset();
        Some(text_hash(string.as_bytes()))
    }
}

/// The hash of a number by its exact value, independent of its notation.
fn number(token: &str) -> u64 {
    let bytes = token.as_bytes();
    if bytes.len() <= 19 && bytes.iter().all(u8::is_ascii_digit) {
        return mix(INTEGER, bytes.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0')));
    }
    decimal(token).unwrap_or_else(|| mix(UNREADABLE, xxh3_64(bytes)))
}

/// The hash of a number with a sign, a fraction, an exponent or many digits, by its significant digits and the power of ten of
/// the last one.
fn decimal(token: &str) -> Option<u64> {
    let (sign, number) = token.strip_prefix('-').map_or((0, token), |number| (1, number));
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    let significant = &digits[..digits.len() - zeros];
    if significant.is_empty() {
        return Some(mix(INTEGER, 0));
    }
    let power = exponent.parse::<i64>().ok()?;
    let power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(i64::try_from(zeros).ok()?)?;
    if sign == 0
        && let Ok(zeros) = usize::try_from(power)
        && zeros.saturating_add(significant.len()) <= 19
    {
        let value = significant.iter().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        return Some(mix(INTEGER, value * 10_u64.pow(u32::try_from(zeros).ok()?)));
    }
    Some(mix(mix(DECIMAL ^ sign, power.cast_unsigned()), text_hash(significant)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use crate::identity::content::*;

    fn of(data: &str) -> u64 {
        hash("ThingHappened", 1, data)
    }

    #[test]
    fn the_hash_of_a_text_stays_what_it_is() {
        assert_eq!(
            of(
                r#"{"thingId":"thing-1","parts":[{"count":2,"price":"10.50"},{"count":1,"price":0.25}],"more":null,"ok":true}"#
            ),
            9_344_508_018_839_008_657
        );
    }

    #[test]
    fn notation_does_not_count() {
        for (one, other) in [
            (r#"{"a":1,"b":[2,{"c":"x","d":3}]}"#, "{ \"b\" : [2 , {\"d\":3,\n\"c\":\"x\"}], \"a\":1 } }"),
            (r#"{"a":"aé/\"longer than a word"}"#, r#"{"\u0061":"\u0061\u00e9\/\u0022longer than a word"}"#),
            ("[100,0.25,0,-3]", "[1e2,2.5E-1,-0.0,-30e-1]"),
            ("[18446744073709551616]", "[18446744073709551616.00]"),
            ("[1234567890123456789]", "[123456789012345678900e-2]"),
        ] {
            assert_eq!(of(one), of(other), "{one} and {other}");
        }
    }

    #[test]
    fn malformed_numbers_have_different_hashes() {
        let texts = ["0-", "1.-5", "--1", "1e", "+1", "-"];
        let hashes: std::collections::BTreeSet<u64> = texts.into_iter().map(of).collect();
        assert_eq!(hashes.len(), texts.len());
    }

    #[test]
    fn different_contents_have_different_hashes() {
        let texts = [
            "{}",
            "[]",
            "null",
            "true",
            "0",
            "\"\"",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":-1}"#,
            r#"{"a":0.1}"#,
            r#"{"a":10}"#,
            r#"{"a":null}"#,
            r#"{"a":12,"b":21}"#,
            r#"{"a":21,"b":12}"#,
            r#"{"a":{"b":1},"c":{"d":1}}"#,
            r#"{"a":{"d":1},"c":{"b":1}}"#,
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[[1,2]]",
            r#"["12345678"]"#,
            r#"["12345678\u0000"]"#,
            r#"["1234567","8"]"#,
        ];
        let hashes: std::collections::HashSet<u64> = texts.iter().map(|text| of(text)).collect();
        assert_eq!(hashes.len(), texts.len());
        assert_ne!(hash("A", 1, "{}"), hash("A", 2, "{}"));
        assert_ne!(hash("A", 1, "{}"), hash("B", 1, "{}"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|whole| Value::from(f64::from(whole) + 0.5)),
            "\\PC{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map("\\PC{0,12}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same value with its members in the opposite order and every character escaped.
    fn rewritten(value: &Value) -> String {
        let string = |text: &str| {
            let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<Vec<_>>().concat();
            format!("\"{units}\"")
        };
        match value {
            Value::Object(members) => {
                let members: Vec<_> = members
                    .iter()
                    .rev()
                    .map(|(name, value)| format!(" {} : {}", string(name), rewritten(value)))
                    .collect();
                format!("{{{}\n}}", members.join(" ,"))
            }
            Value::Array(values) => format!("[{} ]", values.iter().map(rewritten).collect::<Vec<_>>().join(", ")),
            Value::String(text) => string(text),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_value_keeps_its_hash_and_another_value_has_another(one in json(), other in json()) {
            let text = one.to_string();
            prop_assert_eq!(of(&text), of(&rewritten(&one)), "{}", text);
            prop_assert_eq!(of(&text) == of(&other.to_string()), one == other);
        }

        #[test]
        fn reading_any_text_ends(text in "[\\PC\\[\\]{}\",:\\\\0-9eE.+-]{0,80}") {
            let _ = of(&text);
        }
    }
}
