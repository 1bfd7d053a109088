//! Settings: configurations read from TOML, with errors that name the key.
//!
//! [`settings!`](crate::settings!) declares a configuration with its defaults,
//! [`kinds!`](crate::kinds!) reads one of several by the `type` of its section, and
//! [`words!`](crate::words!) reads an enumeration without fields by its name.

use serde::{Deserialize, de};
use std::fmt;
use thiserror::Error;
pub use toml::{Table, Value};

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{}: {mistake}", key.join("."))]
pub struct SettingError {
    /// Path from the section that was read, outermost name first.
    pub key: Vec<String>,
    /// The mistake.
    pub mistake: Mistake,
}

/// What is wrong with a setting, in words for people who do not program.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Mistake {
    /// There is none of this name.
    #[error("there is no such setting, expected {}", known.join(", "))]
    Unknown {
        /// The settings of the section.
        known: &'static [&'static str],
    },
    /// No value, and no default.
    #[error("it is missing")]
    Missing,
    /// None of the words that it takes.
    #[error("expected {}, not {given}", words.join(", "))]
    NoSuchWord {
        /// The value.
        given: Value,
        /// The words.
        words: &'static [&'static str],
    },
    /// A value of another type.
    #[error("expected {expected}, {}", not(expected, given))]
    Unfit {
        /// The value.
        given: Value,
        /// The values that it takes.
        expected: &'static str,
    },
}

/// The end of a sentence on a value that does not fit.
fn not(expected: &str, given: &Value) -> String {
    match given {
        Value::Table(_) => "not a section of settings".to_owned(),
        Value::Float(x) if expected == WHOLE && x.fract() == 0.0 && x.abs() < 1e18 => {
            format!("in digits only: {x}, not {given}")
        }
        value => format!("not {value}"),
    }
}

/// The key that says which kind of thing a section describes.
pub const TYPE: &str = "type";

/// No value, as text: TOML has none of its own.
pub const NULL: &str = "null";

const WHOLE: &str = "a whole number, 0 or more";

impl From<Mistake> for SettingError {
    fn from(mistake: Mistake) -> Self {
        let key = Vec::new();
        Self { key, mistake }
    }
}

impl SettingError {
    /// The same mistake as seen from the section around.
    pub fn below(mut self, key: &str) -> Self {
        self.key.insert(0, key.to_owned());
        self
    }
}

/// A value that settings give: a number, a word, a section.
pub trait Setting: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    fn read(value: &Value) -> Result<Self, SettingError>;
}

/// A value, or the mistake that it is of another type.
fn expect<T>(value: &Value, expected: &'static str, fits: Option<T>) -> Result<T, SettingError> {
    let given = || value.clone();
    fits.ok_or_else(|| {
        Mistake::Unfit {
            given: given(),
            expected,
        }
        .into()
    })
}

impl Setting for bool {
    fn read(value: &Value) -> Result<Self, SettingError> {
        expect(value, "true or false", value.as_bool())
    }
}

impl Setting for u64 {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let whole = value.as_integer().and_then(|number| number.try_into().ok());
        expect(value, WHOLE, whole)
    }
}

impl Setting for usize {
    fn read(value: &Value) -> Result<Self, SettingError> {
        expect(value, WHOLE, u64::read(value)?.try_into().ok())
    }
}

impl Setting for f64 {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let number = value.as_float().or(value.as_integer().map(|n| n as Self));
        expect(value, "a number", number)
    }
}

impl Setting for f32 {
    fn read(value: &Value) -> Result<Self, SettingError> {
        f64::read(value).map(|number| number as Self)
    }
}

impl Setting for String {
    fn read(value: &Value) -> Result<Self, SettingError> {
        expect(value, "a text", value.as_str().map(str::to_owned))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(value: &Value) -> Result<Self, SettingError> {
        match value.as_str() {
            Some(NULL) => Ok(None),
            _ => T::read(value).map(Some),
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let list = expect(value, "a list", value.as_array())?;
        list.iter().map(T::read).collect()
    }
}

impl Setting for [f32; 2] {
    fn read(value: &Value) -> Result<Self, SettingError> {
        let pair = Vec::read(value)?.try_into().ok();
        expect(value, "a list of two numbers", pair)
    }
}

impl Setting for Table {
    fn read(value: &Value) -> Result<Self, SettingError> {
        expect(value, "a section of settings", value.as_table().cloned())
    }
}

/// A section of settings.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a>(&'a Table);

impl<'a> Section<'a> {
    /// The section with this value, whatever it holds.
    ///
    /// # Errors
    /// [`Mistake::Unfit`].
    pub fn open(value: &'a Value) -> Result<Self, SettingError> {
        expect(value, "a section of settings", value.as_table()).map(Self)
    }

    /// The section with this value, if it has no other settings than these.
    ///
    /// # Errors
    /// [`Mistake::Unfit`], [`Mistake::Unknown`].
    pub fn of(value: &'a Value, known: &'static [&'static str]) -> Result<Self, SettingError> {
        let Self(table) = Self::open(value)?;
        match table.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(SettingError::from(Mistake::Unknown { known }).below(key)),
            None => Ok(Self(table)),
        }
    }

    /// A setting, `absent` where the section is silent.
    ///
    /// # Errors
    /// As [`Setting::read`].
    pub fn get<T: Setting>(&self, key: &str, absent: T) -> Result<T, SettingError> {
        match self.0.get(key) {
            Some(value) => T::read(value).map_err(|error| error.below(key)),
            None => Ok(absent),
        }
    }

    /// A setting without a default.
    ///
    /// # Errors
    /// [`Mistake::Missing`], and as [`Setting::read`].
    pub fn required<T: Setting>(&self, key: &str) -> Result<T, SettingError> {
        let value: Option<T> = self.get(key, None)?;
        value.ok_or_else(|| SettingError::from(Mistake::Missing).below(key))
    }
}

/// The kind of thing that a section describes, and the other settings of the section.
///
/// # Errors
/// [`Mistake::Missing`] or [`Mistake::NoSuchWord`] for the key [`TYPE`], [`Mistake::Unfit`].
pub fn kind<'a, K: Deserialize<'a>>(section: &'a Value) -> Result<(K, Value), SettingError> {
    let mut table = Table::read(section)?;
    let of_type = |mistake: SettingError| mistake.below(TYPE);
    table.remove(TYPE);
    let name = section.get(TYPE);
    let name = name.ok_or_else(|| of_type(Mistake::Missing.into()))?;
    Ok((word(name).map_err(of_type)?, Value::Table(table)))
}

/// The variant that a word names.
///
/// # Errors
/// [`Mistake::NoSuchWord`].
pub fn word<'a, W: Deserialize<'a>>(value: &'a Value) -> Result<W, SettingError> {
    let name = value.as_str().unwrap_or_default();
    let variant = W::deserialize(de::value::StrDeserializer::new(name));
    variant.map_err(|Expected(words): Expected| {
        let given = value.clone();
        Mistake::NoSuchWord { given, words }.into()
    })
}

/// The names of an enumeration's variants: all that there is to say of a word that is none.
#[derive(Debug)]
struct Expected(&'static [&'static str]);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0.join(", "))
    }
}

impl std::error::Error for Expected {}

impl de::Error for Expected {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

/// Declares a configuration: every setting with its default, or none with one, and all required. A
/// setting that runs from before it existed lack, where it says something else than its default,
/// says so in brackets: `form: Form [absent: Form::Old] = Form::New`.
#[macro_export]
macro_rules! settings {
    ($(#[$meta:meta])* $visibility:vis struct $config:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        $visibility struct $config {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        impl $crate::settings::Setting for $config {
            fn read(
                value: &$crate::settings::Value,
            ) -> Result<Self, $crate::settings::SettingError> {
                let section = $crate::settings::Section::of(value, &[$(stringify!($field)),*])?;
                Ok(Self { $($field: section.required(stringify!($field))?,)* })
            }
        }
    };
    ($(#[$meta:meta])* $visibility:vis struct $config:ident {
        $($(#[$field_meta:meta])*
        $field_visibility:vis $field:ident: $type:ty $([absent: $absent:expr])? = $default:expr),*
        $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        $visibility struct $config {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        impl Default for $config {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::settings::Setting for $config {
            fn read(
                value: &$crate::settings::Value,
            ) -> Result<Self, $crate::settings::SettingError> {
                let _section = $crate::settings::Section::of(value, &[$(stringify!($field)),*])?;
                // All of them, where there are none.
                #[allow(clippy::needless_update)]
                let _absent = Self { $($($field: $absent,)?)* ..Self::default() };
                Ok(Self { $($field: _section.get(stringify!($field), _absent.$field)?,)* })
            }
        }
    };
}

/// Reads an enumeration of configurations by the `type` of a section, the variant's name in this
/// case.
#[macro_export]
macro_rules! kinds {
    ($choice:ident, $case:tt, $($variant:ident($config:ty)),+ $(,)?) => {
        impl $crate::settings::Setting for $choice {
            fn read(
                value: &$crate::settings::Value,
            ) -> Result<Self, $crate::settings::SettingError> {
                #[derive(serde::Deserialize)]
                #[serde(rename_all = $case)]
                enum Kind {
                    $($variant),+
                }
                let (kind, settings) = $crate::settings::kind(value)?;
                match kind {
                    $(Kind::$variant => {
                        <$config as $crate::settings::Setting>::read(&settings).map(Self::$variant)
                    })+
                }
            }
        }
    };
}

/// Makes enumerations without fields settings: words, their variants' names in serde's case.
#[macro_export]
macro_rules! words {
    ($($word:ty),+ $(,)?) => {$(
        impl $crate::settings::Setting for $word {
            fn read(
                value: &$crate::settings::Value,
            ) -> Result<Self, $crate::settings::SettingError> {
                $crate::settings::word(value)
            }
        }
    )+};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{ConnectionConfig, LaurelConfig, LaurelForm};

    settings! {
        struct Outer {
            connection: ConnectionConfig = ConnectionConfig::default(),
            pair: [f32; 2] = [0.0; 2],
            limit: Option<usize> = None,
        }
    }

    fn read(text: &str) -> Result<Outer, String> {
        let table = text.parse().expect("TOML");
        Outer::read(&Value::Table(table)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_silent_has_its_default_and_what_is_older_what_it_was() {
        assert_eq!(read(""), Ok(Outer::default()));
        assert_eq!(read("limit = \"null\""), Ok(Outer::default()));
        let Ok(outer) = read("connection = { type = \"laurel\" }\nlimit = 3") else {
            panic!("it is valid");
        };
        assert_eq!(outer.limit, Some(3));
        let ConnectionConfig::Laurel(laurel) = outer.connection else {
            panic!("{:?}", outer.connection);
        };
        assert_eq!(laurel.form, LaurelForm::OneMap);
        assert_eq!(LaurelConfig::default().form, LaurelForm::Paper);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_whole_key() {
        for (given, said) in [
            (
                "conection = 1",
                "conection: there is no such setting, expected connection, pair, limit",
            ),
            (
                "connection = 1",
                "connection: expected a section of settings, not 1",
            ),
            ("connection = {}", "connection.type: it is missing"),
            (
                "connection = { type = 2 }",
                "connection.type: expected pre_norm, post_norm,",
            ),
            (
                "connection = { type = \"hyper\", rate = -1 }",
                "connection.rate: expected a whole number, 0 or more, not -1",
            ),
            (
                "connection = { type = \"hyper\", rat = 1 }",
                "connection.rat: there is no such setting, expected rate,",
            ),
            (
                "connection = { type = \"hyper\", frozen = [\"all\"] }",
                "connection.frozen: expected read, mix, write, dynamic, not \"all\"",
            ),
            (
                "pair = [1]",
                "pair: expected a list of two numbers, not [1]",
            ),
            ("pair = [1, true]", "pair: expected a number, not true"),
            (
                "limit = 2.0",
                "limit: expected a whole number, 0 or more, in digits only: 2, not 2.0",
            ),
        ] {
            let error = read(given).expect_err(given);
            assert!(error.starts_with(said), "{given}: {error}");
        }
    }
}
