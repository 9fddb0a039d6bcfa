//! What a column takes, and how a value is written for it: as text of COPY. A value that the column would refuse is
//! refused here, where its record is known, and not by the server, when its epoch is committed.

use std::fmt;
use std::io::Write;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::fields::Kind;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ColumnType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Its precision and scale, if it has them.
    Numeric(Option<(u16, u16)>),
    /// Its length in characters, if it is limited.
    Text(Option<u32>),
    Json,
    Jsonb,
    Uuid,
    TimestampTz,
    Timestamp,
    Date,
    Time,
    Bytea,
}

impl ColumnType {
    /// Returns the type of this name in `pg_type`, with its modifier; `None` for one that cannot be written.
    pub(super) fn of(name: &str, modifier: i32) -> Option<Self> {
        // Modifiers count the four bytes of a length.
        let own = u32::try_from(modifier).ok().and_then(|modifier| modifier.checked_sub(4));
        Some(match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            "numeric" => match own {
                None => Self::Numeric(None),
                // Eleven bits with a sign: a scale below 0 rounds digits before the point, which is seldom wanted.
                Some(own) if own & 0x400 != 0 => return None,
                // Of numeric(3, 5) the first places after the point are always zeros: as seldom.
                Some(own) if own & 0x3ff > own >> 16 => return None,
                Some(own) => Self::Numeric(Some(((own >> 16) as u16, (own & 0x3ff) as u16))),
            },
            "text" => Self::Text(None),
            "varchar" | "bpchar" => Self::Text(own),
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "timestamptz" => Self::TimestampTz,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "time" => Self::Time,
            "bytea" => Self::Bytea,
            _ => return None,
        })
    }

    /// Returns whether it takes values of a kind, if they are in its range.
    pub(super) fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Json | Self::Jsonb => true,
            Self::Bool => kind == Kind::Bool,
            Self::Int2 | Self::Int4 | Self::Int8 => kind == Kind::Integer,
            Self::Float4 | Self::Float8 => matches!(kind, Kind::Integer | Kind::Float),
            Self::Numeric(_) => matches!(kind, Kind::Integer | Kind::Float | Kind::Text),
            Self::TimestampTz | Self::Timestamp => matches!(kind, Kind::Integer | Kind::Text),
            Self::Text(_) | Self::Uuid | Self::Date | Self::Time => kind == Kind::Text,
            Self::Bytea => matches!(kind, Kind::Bytes | Kind::Nested),
        }
    }

    /// Returns whether two values are the same only if their texts are: then a column can be part of a key.
    pub(super) fn can_be_key(self) -> bool {
        !matches!(self, Self::Json | Self::Jsonb | Self::Float4 | Self::Float8 | Self::Numeric(_))
    }

    fn other(self, value: impl fmt::Display) -> String {
        format!("{value} is not a value of a column of type {self}")
    }

    pub(super) fn bool(self, value: bool, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Self::Bool => text(if value { "t" } else { "f" }, out),
            _ => Err(self.other(value)),
        }
    }

    pub(super) fn integer(self, value: i128, out: &mut Vec<u8>) -> Result<(), String> {
        let within = |least: i128, most: i128| (least..=most).contains(&value);
        let fits = match self {
            Self::Int2 => within(i16::MIN.into(), i16::MAX.into()),
            Self::Int4 => within(i32::MIN.into(), i32::MAX.into()),
            Self::Int8 => within(i64::MIN.into(), i64::MAX.into()),
            Self::Float4 | Self::Float8 => true,
            Self::Numeric(_) => return self.numeric(&value.to_string(), out),
            Self::TimestampTz | Self::Timestamp => {
                let ms = i64::try_from(value).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
                let at = ms.ok_or_else(|| out_of_range(value, self))?;
                return self.timestamp(at, out);
            }
            _ => return Err(self.other(value)),
        };
        if fits { text(&value.to_string(), out) } else { Err(out_of_range(value, self)) }
    }

    pub(super) fn float(self, value: f64, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            // Text with an exponent would be read as well, but a scale is checked on digits.
            Self::Numeric(_) if value.is_finite() => self.numeric(&format!("{value}"), out),
            Self::Numeric(_) => Err(format!("{value} is not a value of a column of type {self}")),
            Self::Float4 if value.is_finite() && !(value as f32).is_finite() => Err(out_of_range(value, self)),
            Self::Float4 if value.is_finite() => text(&format!("{}", value as f32), out),
            Self::Float4 | Self::Float8 if value.is_nan() => text("NaN", out),
            Self::Float4 | Self::Float8 if value.is_infinite() => {
                text(if value > 0.0 { "Infinity" } else { "-Infinity" }, out)
            }
            Self::Float8 => text(&format!("{value}"), out),
            _ => Err(self.other(value)),
        }
    }

    pub(super) fn text(self, value: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let wrong = |e: jiff::Error| format!("\"{value}\" is not a value of a column of type {self} ({e})");
        match self {
            Self::Text(limit) => {
                if value.contains('\0') {
                    return Err("a text contains the character NUL, which PostgreSQL cannot store".to_owned());
                }
                let length = value.chars().count();
                match limit.filter(|limit| length > *limit as usize) {
                    Some(limit) => Err(format!("a text has {length} characters, and the column takes {limit}")),
                    None => text(value, out),
                }
            }
            Self::Uuid => {
                let digits = value.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
                let is_uuid = digits && value.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
                if is_uuid { text(value, out) } else { Err(self.other(format!("\"{value}\""))) }
            }
            Self::Numeric(_) => {
                let digits = value.strip_prefix('-').unwrap_or(value);
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
                let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                if all_digits(whole) && all_digits(fraction) {
                    self.numeric(value, out)
                } else {
                    Err(self.other(format!("\"{value}\"")))
                }
            }
            Self::TimestampTz => self.timestamp(value.parse().map_err(wrong)?, out),
            Self::Timestamp => match value.parse::<Timestamp>() {
                Ok(at) => self.timestamp(at, out),
                Err(_) => self.civil(value.parse().map_err(wrong)?, "", out),
            },
            Self::Date => {
                let date: Date = value.parse().map_err(wrong)?;
                if date.year() < 1 { Err(out_of_range(value, self)) } else { text(&date.to_string(), out) }
            }
            Self::Time => text(&value.parse::<Time>().map_err(wrong)?.to_string(), out),
            _ => Err(self.other(format!("\"{value}\""))),
        }
    }

    pub(super) fn bytes(self, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        if self != Self::Bytea {
            return Err(self.other("a list of bytes"));
        }
        // One backslash of COPY stands before the one of the value.
        out.extend(b"\\\\x");
        value.iter().try_for_each(|byte| write!(out, "{byte:02x}")).map_err(|e| e.to_string())
    }

    /// Writes JSON that is valid.
    pub(super) fn json(self, json: &str, out: &mut Vec<u8>) -> Result<(), String> {
        if self == Self::Jsonb && has_nul(json) {
            return Err("a text contains the character NUL, which a column of type jsonb cannot store".to_owned());
        }
        text(json, out)
    }

    fn numeric(self, digits: &str, out: &mut Vec<u8>) -> Result<(), String> {
        let Self::Numeric(limits) = self else { return Err(self.other(digits)) };
        let whole = digits.trim_start_matches('-').split('.').next().unwrap_or_default().trim_start_matches('0');
        let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction);
        let room = limits.map_or(131_072, |(precision, scale)| usize::from(precision.saturating_sub(scale)));
        // What is rounded up may need one more digit: 9.99 in numeric(3, 1) is 10.0.
        let scale = limits.map_or(16_383, |(_, scale)| usize::from(scale));
        let rounds_up = fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5')
            && whole.bytes().chain(fraction.bytes().take(scale)).all(|digit| digit == b'9');
        if whole.len() + usize::from(rounds_up) > room {
            return Err(out_of_range(digits, self));
        }
        text(digits, out)
    }

    fn timestamp(self, at: Timestamp, out: &mut Vec<u8>) -> Result<(), String> {
        let zone = if self == Self::TimestampTz { "+00" } else { "" };
        self.civil(Zoned::new(at, TimeZone::UTC).datetime(), zone, out)
    }

    fn civil(self, at: DateTime, zone: &str, out: &mut Vec<u8>) -> Result<(), String> {
        if at.year() < 1 { Err(out_of_range(at, self)) } else { text(&format!("{at}{zone}"), out) }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            Self::Text(Some(limit)) => write!(f, "varchar({limit})"),
            Self::Numeric(None) => f.write_str("numeric"),
            Self::Text(None) => f.write_str("text"),
            Self::Bool => f.write_str("bool"),
            Self::Int2 => f.write_str("int2"),
            Self::Int4 => f.write_str("int4"),
            Self::Int8 => f.write_str("int8"),
            Self::Float4 => f.write_str("float4"),
            Self::Float8 => f.write_str("float8"),
            Self::Json => f.write_str("json"),
            Self::Jsonb => f.write_str("jsonb"),
            Self::Uuid => f.write_str("uuid"),
            Self::TimestampTz => f.write_str("timestamptz"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Bytea => f.write_str("bytea"),
        }
    }
}

fn out_of_range(value: impl fmt::Display, column: ColumnType) -> String {
    format!("{value} is out of the range of {column}")
}

/// Returns whether a text in JSON has the character NUL, which is always escaped, and not a backslash before `u0000`.
fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let before = json.as_bytes().iter().take(at).rev().take_while(|byte| **byte == b'\\').count();
        before.is_multiple_of(2)
    })
}

/// Writes text so that COPY reads it as it is.
fn text(value: &str, out: &mut Vec<u8>) -> Result<(), String> {
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            byte => out.push(byte),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<String, String> {
        let mut out = Vec::new();
        write(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_written_as_copy_reads_them() {
        let column = |name, modifier| ColumnType::of(name, modifier).unwrap();
        let text = |name, value: &str| written(|out| column(name, -1).text(value, out));
        assert_eq!(text("text", "a\tb\\c\nd"), Ok("a\\tb\\\\c\\nd".to_owned()));
        assert_eq!(text("timestamptz", "2026-01-02T03:04:05.5+01:00"), Ok("2026-01-02T02:04:05.5+00".to_owned()));
        assert_eq!(text("timestamp", "2026-01-02T03:04:05"), Ok("2026-01-02T03:04:05".to_owned()));
        assert_eq!(text("date", "2024-02-29"), Ok("2024-02-29".to_owned()));
        assert_eq!(text("numeric", "-12.50"), Ok("-12.50".to_owned()));
        let integer = |name, value| written(|out| column(name, -1).integer(value, out));
        assert_eq!(integer("timestamptz", 1_500), Ok("1970-01-01T00:00:01.5+00".to_owned()));
        assert_eq!(integer("float8", 7), Ok("7".to_owned()));
        let float = |name, value| written(|out| column(name, -1).float(value, out));
        assert_eq!(float("float8", f64::NAN), Ok("NaN".to_owned()));
        assert_eq!(float("float4", f64::NEG_INFINITY), Ok("-Infinity".to_owned()));
        assert_eq!(float("float8", 1e300).unwrap().parse(), Ok(1e300));
        assert_eq!(written(|out| column("bytea", -1).bytes(&[0, 255], out)), Ok("\\\\x00ff".to_owned()));
    }

    #[test]
    fn what_the_server_would_refuse_is_refused_before() {
        let column = |name, modifier| ColumnType::of(name, modifier).unwrap();
        let decimal = column("numeric", ((5 << 16) | 2) + 4);
        assert_eq!(decimal, ColumnType::Numeric(Some((5, 2))));
        for (refused, says) in [
            (written(|out| column("int2", -1).integer(40_000, out)), "40000 is out of the range of int2"),
            (written(|out| column("int8", -1).integer(i128::from(u64::MAX), out)), "out of the range of int8"),
            (
                written(|out| column("timestamptz", -1).integer(i128::from(i64::MAX), out)),
                "out of the range of timestamptz",
            ),
            (written(|out| column("text", -1).text("a\0b", out)), "character NUL"),
            (written(|out| column("varchar", 7).text("äöüß", out)), "has 4 characters, and the column takes 3"),
            (written(|out| column("jsonb", -1).json("\"\\u0000\"", out)), "character NUL"),
            (written(|out| decimal.float(f64::NAN, out)), "NaN is not a value of a column of type numeric(5,2)"),
            (written(|out| decimal.float(1000.0, out)), "1000 is out of the range of numeric(5,2)"),
            (written(|out| decimal.text("999.995", out)), "999.995 is out of the range of numeric(5,2)"),
            (written(|out| decimal.text("1e3", out)), "\"1e3\" is not a value"),
            (written(|out| column("float4", -1).float(1e39, out)), "out of the range of float4"),
            (written(|out| column("date", -1).text("2023-02-29", out)), "\"2023-02-29\" is not a value"),
            (written(|out| column("timestamptz", -1).text("2023-02-28T00:00:00", out)), "is not a value"),
            (written(|out| column("uuid", -1).text("123", out)), "\"123\" is not a value"),
            (written(|out| column("bool", -1).integer(1, out)), "1 is not a value of a column of type bool"),
            (written(|out| column("int4", -1).float(1.0, out)), "1 is not a value of a column of type int4"),
        ] {
            let reason = refused.unwrap_err();
            assert!(reason.contains(says), "{reason}");
        }
        assert_eq!(written(|out| decimal.text("999.994", out)), Ok("999.994".to_owned()));
        assert!(ColumnType::of("point", -1).is_none());
        assert_eq!((has_nul(r#""\u0000""#), has_nul(r#""\\u0000""#), has_nul(r#""\\\u0000""#)), (true, false, true));
    }
}
