//! How the totals of a row become its scores: the transforms of ONNX with ONNX Runtime's order of operations, and the
//! links of XGBoost and LightGBM.

/// A transform of `ai.onnx.ml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Logistic,
    Softmax,
    SoftmaxZero,
    Probit,
}

/// How the totals (f32) of a row become its scores.
#[derive(Clone, Debug)]
pub(super) enum Finish {
    /// The scores are the totals.
    Total,
    Regressor {
        /// Number of trees by which the totals are divided.
        average: Option<usize>,
        base: Vec<f32>,
        transform: Transform,
    },
    Classifier(Classifier),
    XgBoost(Link),
}

#[derive(Clone, Debug)]
pub(super) struct Classifier {
    pub(super) base: Vec<f32>,
    pub(super) transform: Transform,
    /// Whether only one of two classes has votes.
    pub(super) one_of_two: bool,
    pub(super) all_positive: bool,
}

/// What follows the sum, in the libraries' own files.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Link {
    Identity,
    /// With this factor before the exponential function.
    Logistic(f64),
    Softmax,
    /// The number of the class with the largest total.
    ArgMax,
    Exp,
    /// 1 above 0, otherwise 0.
    Hinge,
    /// The square, with the sign of the total.
    Square,
    /// `ln(1 + exp(x))`.
    Log1pExp,
}

/// The number of the class that a row gets. For two classes that both have votes, ONNX Runtime gives 0 or 1 whatever
/// the labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Class(usize),
    Number(i64),
}

impl Finish {
    /// Appends the scores of a row to `scores`. `totals` has a value for each target, `seen` whether a tree gave one.
    pub(super) fn row(&self, totals: &mut [f32], seen: &mut [bool], scores: &mut Vec<f32>) -> Label {
        match self {
            Self::Total => scores.extend_from_slice(totals),
            Self::Regressor { average, base, transform } => {
                regress(*average, base, *transform, totals, seen, scores);
            }
            Self::Classifier(classifier) => return classifier.row(totals, seen, scores),
            Self::XgBoost(link) => link.row_f32(totals, scores),
        }
        Label::Class(0)
    }
}

fn regress(
    average: Option<usize>,
    base: &[f32],
    transform: Transform,
    totals: &mut [f32],
    seen: &[bool],
    scores: &mut Vec<f32>,
) {
    if let Some(trees) = average {
        totals.iter_mut().for_each(|total| *total /= trees as f32);
    }
    if base.len() == totals.len() {
        totals.iter_mut().zip(base).for_each(|(total, base)| *total += base);
    }
    if let [total] = totals {
        scores.push(if transform == Transform::Probit { probit(*total) } else { *total });
        return;
    }
    // ONNX Runtime takes a target without a vote for 0, with or without a base value.
    totals.iter_mut().zip(seen).for_each(|(total, seen)| *total = if *seen { *total } else { 0.0 });
    transform.all(totals, scores);
}

impl Classifier {
    fn row(&self, totals: &mut [f32], seen: &mut [bool], scores: &mut Vec<f32>) -> Label {
        let ([first, second], [seen_first, seen_second]) = (&mut totals[..], &mut seen[..]) else {
            return self.many(totals, seen, scores);
        };
        match self.base[..] {
            [_, base] if *seen_second => {
                *second = base + *first;
                *first = -*second;
            }
            [base, other] => {
                *first += base;
                *second += other;
            }
            [base] => *first += base,
            _ => {}
        }
        let positive = match (*seen_second, *seen_first) {
            (true, _) => *second,
            (false, true) => *first,
            (false, false) => 0.0,
        };
        let limit = if self.is_probability() { 0.5 } else { 0.0 };
        let label = if self.one_of_two {
            Label::Class((positive > limit).into())
        } else {
            Label::Number((positive > limit).into())
        };
        if *seen_second || self.base.len() == 2 {
            let values = [if *seen_first { *first } else { 0.0 }, if *seen_second { *second } else { 0.0 }];
            self.transform.all(&mut { values }, scores);
        } else {
            scores.extend(self.complement(*first, *seen_first));
        }
        label
    }

    /// Returns whether ONNX Runtime takes the votes for one of two classes for its probability.
    fn is_probability(&self) -> bool {
        self.one_of_two && self.all_positive
    }

    /// Returns the scores of two classes, of which one has votes.
    fn complement(&self, total: f32, seen: bool) -> [f32; 2] {
        let total = if seen { total } else { 0.0 };
        match self.transform {
            Transform::Logistic => [logistic(-total), logistic(total)],
            _ if self.is_probability() => [1.0 - total, total],
            _ => [-total, total],
        }
    }

    fn many(&self, totals: &mut [f32], seen: &mut [bool], scores: &mut Vec<f32>) -> Label {
        for ((total, seen), base) in totals.iter_mut().zip(&mut *seen).zip(&self.base) {
            *total = if *seen { *total + base } else { *base };
            *seen = true;
        }
        let mut best: Option<(usize, f32)> = None;
        for (class, (total, seen)) in totals.iter_mut().zip(&*seen).enumerate() {
            if *seen && best.is_none_or(|(_, most)| *total > most) {
                best = Some((class, *total));
            }
            *total = if *seen { *total } else { 0.0 };
        }
        self.transform.all(totals, scores);
        Label::Class(best.map_or(0, |(class, _)| class))
    }
}

impl Transform {
    /// Appends the transformed values, of which there are two or more.
    fn all(self, values: &mut [f32], scores: &mut Vec<f32>) {
        match self {
            Self::None => scores.extend_from_slice(values),
            Self::Logistic => scores.extend(values.iter().map(|value| logistic(*value))),
            Self::Probit => scores.extend(values.iter().map(|value| probit(*value))),
            Self::Softmax | Self::SoftmaxZero => {
                softmax(values, self == Self::SoftmaxZero);
                scores.extend_from_slice(values);
            }
        }
    }
}

fn logistic(value: f32) -> f32 {
    let half = 1.0 / (1.0 + (-value.abs()).exp());
    if value < 0.0 { 1.0 - half } else { half }
}

/// The approximation of the inverse error function by Winitzki, with ONNX Runtime's constants.
fn probit(value: f32) -> f32 {
    let value = 2.0 * value - 1.0;
    let sign = if value < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - value) * (1.0 + value)).ln();
    let first = 2.0 / (std::f32::consts::PI * 0.147) + 0.5 * log;
    let second = 1.0 / 0.147 * log;
    let third = -first + (first * first - second).sqrt();
    std::f32::consts::SQRT_2 * (sign * third.sqrt())
}

/// Softmax; `skip_zeros` leaves values that are (nearly) zero out of the sum.
fn softmax(values: &mut [f32], skip_zeros: bool) {
    let most = values.iter().copied().fold(f32::MIN, |most, value| if value > most { value } else { most });
    let mut sum = 0.0;
    for value in &mut *values {
        if skip_zeros && !(*value > 1e-7 || *value < -1e-7) {
            *value *= (-most).exp();
        } else {
            *value = (*value - most).exp();
            sum += *value;
        }
    }
    values.iter_mut().for_each(|value| *value /= sum);
}

impl Link {
    fn row_f32(&self, totals: &[f32], scores: &mut Vec<f32>) {
        match self {
            Self::Identity => scores.extend_from_slice(totals),
            // XGBoost adds 1e-16 to the divisor, and cuts what the exponential function gets.
            Self::Logistic(_) => {
                scores.extend(totals.iter().map(|total| 1.0 / ((-total).min(88.7).exp() + 1.0 + 1e-16)));
            }
            Self::Softmax => {
                let mut values = totals.to_vec();
                let most = values.iter().copied().fold(f32::MIN, f32::max);
                values.iter_mut().for_each(|value| *value = (*value - most).exp());
                // XGBoost adds the exponentials as doubles.
                let sum: f64 = values.iter().map(|value| f64::from(*value)).sum();
                scores.extend(values.iter().map(|value| value / sum as f32));
            }
            Self::ArgMax => scores.push(most(totals) as f32),
            Self::Exp => scores.extend(totals.iter().map(|total| total.exp())),
            Self::Hinge => scores.extend(totals.iter().map(|total| if *total > 0.0 { 1.0 } else { 0.0 })),
            Self::Square => scores.extend(totals.iter().map(|total| total.signum() * total * total)),
            Self::Log1pExp => scores.extend(totals.iter().map(|total| total.exp().ln_1p())),
        }
    }

    pub(super) fn row_f64(&self, totals: &[f64], scores: &mut Vec<f32>) {
        match self {
            Self::Identity => scores.extend(totals.iter().map(|total| *total as f32)),
            Self::Logistic(factor) => {
                scores.extend(totals.iter().map(|total| (1.0 / (1.0 + (-factor * total).exp())) as f32));
            }
            Self::Softmax => {
                let most = totals.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = totals.iter().map(|total| (total - most).exp()).sum();
                scores.extend(totals.iter().map(|total| ((total - most).exp() / sum) as f32));
            }
            Self::ArgMax => scores.push(most(totals) as f32),
            Self::Exp => scores.extend(totals.iter().map(|total| total.exp() as f32)),
            Self::Hinge => scores.extend(totals.iter().map(|total| if *total > 0.0 { 1.0 } else { 0.0 })),
            Self::Square => scores.extend(totals.iter().map(|total| (total.signum() * total * total) as f32)),
            Self::Log1pExp => scores.extend(totals.iter().map(|total| total.exp().ln_1p() as f32)),
        }
    }

    /// Returns the number of scores of a row with this number of targets.
    pub(super) fn scores(&self, targets: usize) -> usize {
        if *self == Self::ArgMax { 1 } else { targets }
    }
}

fn most<N: PartialOrd + Copy>(totals: &[N]) -> usize {
    let better = |best: usize, at: usize| if totals.get(at) > totals.get(best) { at } else { best };
    (0..totals.len()).fold(0, better)
}
