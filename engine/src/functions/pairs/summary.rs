//! What is known of pairs of numbers, and the statistics that follow from it.

use crate::functions::sliding::Summary;

/// How many pairs there are, the means, and the sums of the products of distances from these. In a pair, `y` depends on `x`.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Pairs {
    pub(super) count: u64,
    pub(super) mean_x: f64,
    pub(super) mean_y: f64,
    pub(super) xx: f64,
    pub(super) yy: f64,
    pub(super) xy: f64,
}

impl Pairs {
    /// One pair.
    pub(super) fn one(y: f64, x: f64) -> Self {
        // The distance of infinity from itself is not a number.
        let (dx, dy) = (x - x, y - y);
        Self { count: 1, mean_x: x, mean_y: y, xx: dx, yy: dy, xy: dx * dy }
    }
}

impl Summary for Pairs {
    /// Chan, Golub and LeVeque's way to join two parts. Numbers that are all the same have no distance, whatever their parts.
    fn then(self, later: Self) -> Self {
        if self.count == 0 || later.count == 0 {
            return if self.count == 0 { later } else { self };
        }
        let count = self.count + later.count;
        let (dx, dy) = (later.mean_x - self.mean_x, later.mean_y - self.mean_y);
        let share = later.count as f64 / count as f64;
        let weight = self.count as f64 * share;
        Self {
            count,
            mean_x: mean(self.mean_x, later.mean_x, share),
            mean_y: mean(self.mean_y, later.mean_y, share),
            xx: self.xx + later.xx + dx * dx * weight,
            yy: self.yy + later.yy + dy * dy * weight,
            xy: self.xy + later.xy + dx * dy * weight,
        }
    }
}

/// The mean of two parts; of infinity and a number it is infinity.
fn mean(earlier: f64, later: f64, share: f64) -> f64 {
    let distance = later - earlier;
    if distance.is_finite() { earlier + distance * share } else { earlier * (1.0 - share) + later * share }
}

/// What is asked of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PairStatistic {
    CovarSamp,
    CovarPop,
    Corr,
    Slope,
    Intercept,
    Count,
    R2,
    AverageX,
    AverageY,
    Sxx,
    Syy,
    Sxy,
}

impl PairStatistic {
    /// The answer of all but [`PairStatistic::Count`], as PostgreSQL defines it; NULL where there is none.
    pub(super) fn of(self, pairs: &Pairs) -> Option<f64> {
        let Pairs { mean_x, mean_y, xx, yy, xy, .. } = *pairs;
        let count = pairs.count as f64;
        match self {
            Self::CovarSamp => (pairs.count > 1).then(|| xy / (count - 1.0)),
            _ if pairs.count == 0 => None,
            Self::CovarPop => Some(xy / count),
            Self::Corr => (xx != 0.0 && yy != 0.0).then(|| (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)),
            Self::Slope => (xx != 0.0).then(|| xy / xx),
            Self::Intercept => (xx != 0.0).then(|| mean_y - mean_x * (xy / xx)),
            Self::R2 if yy == 0.0 => (xx != 0.0).then_some(1.0),
            Self::R2 => (xx != 0.0).then(|| (xy * xy) / (xx * yy)),
            Self::Count => Some(count),
            Self::AverageX => Some(mean_x),
            Self::AverageY => Some(mean_y),
            Self::Sxx => Some(xx),
            Self::Syy => Some(yy),
            Self::Sxy => Some(xy),
        }
    }
}
