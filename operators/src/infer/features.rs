//! The feature spec: which features a record has, in which order they go into the model.

/// A record's features, as a model takes them.
///
/// The [`features!`](crate::features) macro writes this for a struct of `f64` fields.
pub trait Features {
    /// Their names, in the order of the model's columns.
    const NAMES: &'static [&'static str];

    /// Writes them into one row of the tensor, `NAMES.len()` wide.
    fn write(&self, row: &mut [f32]);
}

/// Declares a struct of `f64` features in the order of a model's columns, with [`Features`],
/// `Serialize` (an object of name and value) and `Deserialize`. The crate that uses it depends on `serde`.
///
/// ```
/// tidemill_operators::features! {
///     /// What the model sees of a payment.
///     pub struct PaymentFeatures { amount, seconds_since_last }
/// }
/// use tidemill_operators::infer::Features;
/// assert_eq!(PaymentFeatures::NAMES, ["amount", "seconds_since_last"]);
/// ```
#[macro_export]
macro_rules! features {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($field:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        $vis struct $name {
            $(#[doc = concat!("Feature `", stringify!($field), "`.")] pub $field: f64),+
        }

        impl $name {
            /// The features from their values, in order; those that are missing are 0.
            #[allow(dead_code)]
            $vis fn from_values(values: impl IntoIterator<Item = f64>) -> Self {
                let mut values = values.into_iter();
                Self { $($field: values.next().unwrap_or_default()),+ }
            }
        }

        impl $crate::infer::Features for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];

            fn write(&self, row: &mut [f32]) {
                for (cell, value) in row.iter_mut().zip([$(self.$field),+]) {
                    *cell = value as f32;
                }
            }
        }
    };
}
