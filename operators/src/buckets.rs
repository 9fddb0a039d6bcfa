//! Buckets of floats by their upper bits: sign, exponent and 8 bits of the mantissa.
//!
//! A bucket is at most 1/256 of its values wide. It needs no logarithm, so it is the same on every machine, and zero
//! has a bucket that no value of practical size shares.

/// Number of lower bits of a float that a bucket leaves out.
const LEFT_OUT: u32 = 44;
const SIGN: u64 = 1 << 63;

/// Returns a number for a float. Numbers are in the order of floats.
#[inline]
pub(crate) fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == SIGN { !bits } else { bits | SIGN }
}

/// Returns the bucket of a float. Buckets are in the order of floats.
pub(crate) fn bucket(value: f64) -> u32 {
    (ordered(value) >> LEFT_OUT) as u32
}

/// Returns the least float of a bucket, and that of the next one.
pub(crate) fn bounds(bucket: u32) -> (f64, f64) {
    let least = |bucket: u64| {
        let ordered = bucket << LEFT_OUT;
        f64::from_bits(if ordered & SIGN == SIGN { ordered ^ SIGN } else { !ordered })
    };
    (least(u64::from(bucket)), least(u64::from(bucket) + 1))
}

/// Returns the ends of a bucket, of which values are known to be between `min` and `max`.
pub(crate) fn bounds_within(bucket: u32, min: f64, max: f64) -> (f64, f64) {
    let (low, high) = bounds(bucket);
    (low.max(min), high.min(max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_float_is_within_the_bounds_of_its_bucket(value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let (low, high) = bounds(bucket(value));
            // The last bucket of finite floats ends at infinity. A negative float may be equal to the end of its
            // bucket.
            prop_assert!(low <= value && value <= high && low < high, "{low} {value} {high}");
            prop_assert!(bucket(low) == bucket(value) && bucket(high.next_down()) == bucket(value));
        }
    }

    #[test]
    fn buckets_are_narrow_and_in_order() {
        assert!(bucket(1.0) == bucket(1.003) && bucket(1.0) < bucket(1.004));
        assert_eq!(bounds(bucket(1.001)), (1.0, 1.0 + 1.0 / 256.0));
        let values = [-2.0, -1.0, -1e-300, 0.0, 1e-300, 0.25, 1.0, 3e9];
        assert!(values.windows(2).all(|pair| bucket(pair[0]) < bucket(pair[1])));
        assert_eq!(bounds_within(bucket(1.001), 1.001, 5.0), (1.001, 1.0 + 1.0 / 256.0));
    }
}
