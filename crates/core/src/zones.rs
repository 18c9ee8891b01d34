//! Where in the picture it matters.
//!
//! A tree that waves raises nothing where its zone is left out: maps are weighed by zones before
//! anything is pooled from them, on normal video as on live.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::Plane;
use crate::maps::ClipMaps;

/// Samples of a cell in a row, and rows of them.
const SAMPLES: usize = 4;
/// Cells on which it is found whether zones leave anything.
const PROBE: usize = 64;

/// Named zones of a camera's picture, at least one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Zone>", into = "Vec<Zone>")]
pub struct Zones(Vec<Zone>);

/// One zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name among those of the camera.
    pub name: String,
    /// What it does.
    pub rule: ZoneRule,
    /// At least three corners in order; what is inside is told by the even-odd rule.
    pub polygon: Vec<Corner>,
}

/// What a zone does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZoneRule {
    /// It counts; what lies in no such zone does not, where there is one.
    Include,
    /// It does not count, whatever includes it.
    Exclude,
}

/// A corner in shares of the picture's width and height.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corner {
    /// From 0 at the left edge to 1 at the right.
    pub x: f64,
    /// From 0 at the upper edge to 1 at the lower.
    pub y: f64,
}

/// Zones that are none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ZonesError {
    /// There is no zone.
    #[error("zones are empty; at least one is expected")]
    None,
    /// A zone has no name, or that of one before it.
    #[error("zone {index} has the name `{name}`; a name that no other zone has is expected")]
    Name {
        /// Position, counted from 0.
        index: usize,
        /// Its name.
        name: String,
    },
    /// A polygon has too few corners.
    #[error("zone `{name}` has {found} corners; at least 3 are expected")]
    Corners {
        /// The zone.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// A corner lies outside the picture.
    #[error(
        "zone `{name}` has a corner at ({x}, {y}); shares of width and height in [0, 1] are expected"
    )]
    Corner {
        /// The zone.
        name: String,
        /// As it was given.
        x: f64,
        /// As it was given.
        y: f64,
    },
    /// Nothing of the picture counts.
    #[error("zones leave nothing of the picture; some part of it is expected to count")]
    Nothing,
}

impl TryFrom<Vec<Zone>> for Zones {
    type Error = ZonesError;

    fn try_from(zones: Vec<Zone>) -> Result<Self, ZonesError> {
        if zones.is_empty() {
            return Err(ZonesError::None);
        }
        for (index, zone) in zones.iter().enumerate() {
            let name = &zone.name;
            if name.is_empty() || zones[..index].iter().any(|other| other.name == *name) {
                return Err(ZonesError::Name { index, name: name.clone() });
            }
            zone.check()?;
        }
        let zones = Self(zones);
        let any = zones.weights(PROBE, PROBE).iter().any(|&weight| weight > 0.0);
        if any { Ok(zones) } else { Err(ZonesError::Nothing) }
    }
}

impl From<Zones> for Vec<Zone> {
    fn from(zones: Zones) -> Self {
        zones.0
    }
}

impl Zone {
    fn check(&self) -> Result<(), ZonesError> {
        let Self { name, polygon, .. } = self;
        if polygon.len() < 3 {
            return Err(ZonesError::Corners { name: name.clone(), found: polygon.len() });
        }
        let inside = |value: f64| (0.0..=1.0).contains(&value);
        match polygon.iter().find(|corner| !(inside(corner.x) && inside(corner.y))) {
            Some(&Corner { x, y }) => Err(ZonesError::Corner { name: name.clone(), x, y }),
            None => Ok(()),
        }
    }

    fn contains(&self, x: f64, y: f64) -> bool {
        let corners = &self.polygon;
        let edges = (0..corners.len()).map(|at| (corners[at], corners[(at + 1) % corners.len()]));
        let crossed = edges.filter(|(from, to)| {
            let spans = (from.y > y) != (to.y > y);
            spans && x < from.x + (y - from.y) / (to.y - from.y) * (to.x - from.x)
        });
        crossed.count() % 2 == 1
    }
}

impl Zones {
    /// Every zone.
    pub fn zones(&self) -> &[Zone] {
        &self.0
    }

    /// How much each of `height` × `width` cells counts, in [0, 1], row after row: the share of it
    /// that is included and not excluded.
    pub fn weights(&self, height: usize, width: usize) -> Vec<f32> {
        let cell = |index: usize| {
            let (row, column) = (index / width, index % width);
            let counted = (0..SAMPLES * SAMPLES).filter(|sample| {
                let step = |at: usize| (at as f64 + 0.5) / SAMPLES as f64;
                let x = (column as f64 + step(sample % SAMPLES)) / width as f64;
                let y = (row as f64 + step(sample / SAMPLES)) / height as f64;
                self.counts(x, y)
            });
            counted.count() as f32 / (SAMPLES * SAMPLES) as f32
        };
        (0..height * width).map(cell).collect()
    }

    fn counts(&self, x: f64, y: f64) -> bool {
        let of = |rule: ZoneRule| self.0.iter().filter(move |zone| zone.rule == rule);
        let mut included = of(ZoneRule::Include).peekable();
        let included = included.peek().is_none() || included.any(|zone| zone.contains(x, y));
        included && !of(ZoneRule::Exclude).any(|zone| zone.contains(x, y))
    }

    /// A clip's maps as they count: weighed where there are zones, and as they are where not.
    pub fn weighed<'a>(zones: Option<&Self>, maps: &'a ClipMaps) -> Cow<'a, ClipMaps> {
        match zones {
            Some(zones) => Cow::Owned(zones.weigh(maps)),
            None => Cow::Borrowed(maps),
        }
    }

    /// A clip's maps in which what does not count is as if nothing were there.
    pub fn weigh(&self, maps: &ClipMaps) -> ClipMaps {
        let weigh = |plane: &Plane| {
            let weights = self.weights(plane.height, plane.width);
            let values = plane.values.iter().zip(weights).map(|(value, weight)| value * weight);
            Plane { values: values.collect(), ..plane.clone() }
        };
        ClipMaps {
            error: weigh(&maps.error),
            moved: weigh(&maps.moved),
            speed: weigh(&maps.speed),
            feature_distance: maps.feature_distance.as_ref().map(weigh),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, rule: ZoneRule, corners: &[[f64; 2]]) -> Zone {
        let polygon = corners.iter().map(|&[x, y]| Corner { x, y }).collect();
        Zone { name: name.to_owned(), rule, polygon }
    }

    const LEFT: [[f64; 2]; 4] = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
    const UPPER: [[f64; 2]; 4] = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.0, 0.5]];

    fn weights(zones: Vec<Zone>, height: usize, width: usize) -> Vec<f32> {
        Zones::try_from(zones).unwrap().weights(height, width)
    }

    #[test]
    fn what_is_included_and_not_excluded_counts() {
        use ZoneRule::{Exclude, Include};
        assert_eq!(weights(vec![zone("a", Include, &LEFT)], 2, 2), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(weights(vec![zone("a", Exclude, &LEFT)], 2, 2), [0.0, 1.0, 0.0, 1.0]);
        let both = vec![zone("a", Include, &LEFT), zone("b", Exclude, &UPPER)];
        assert_eq!(weights(both, 2, 2), [0.0, 0.0, 1.0, 0.0]);
        // Either of two included ones counts.
        let two = vec![zone("a", Include, &LEFT), zone("b", Include, &UPPER)];
        assert_eq!(weights(two, 2, 2), [1.0, 1.0, 1.0, 0.0]);
        // A cell counts as far as it is covered: of four columns of samples, the left two.
        assert_eq!(weights(vec![zone("a", Include, &LEFT)], 1, 1), [0.5]);
        let triangle = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let found = weights(vec![zone("a", Include, &triangle)], 2, 2);
        assert_eq!([found[0], found[3]], [1.0, 0.0]);
        assert!(found[1] > 0.3 && found[1] < 0.7 && found[1] == found[2], "{found:?}");
    }

    #[test]
    fn a_tree_in_an_excluded_zone_is_as_if_nothing_were_there() {
        let plane =
            |values: [f32; 4]| Plane { height: 2, width: 2, channels: 1, values: values.into() };
        let maps = ClipMaps {
            error: plane([9.0, 1.0, 9.0, 1.0]),
            moved: plane([9.0, 2.0, 9.0, 2.0]),
            speed: plane([9.0, 3.0, 9.0, 3.0]),
            feature_distance: Some(plane([9.0, 0.5, 9.0, 0.5])),
        };
        let zones = Zones::try_from(vec![zone("tree", ZoneRule::Exclude, &LEFT)]).unwrap();
        let weighed = zones.weigh(&maps);
        assert_eq!(weighed.error.values[..], [0.0, 1.0, 0.0, 1.0]);
        assert_eq!(weighed.moved.values[..], [0.0, 2.0, 0.0, 2.0]);
        assert_eq!(weighed.speed.values[..], [0.0, 3.0, 0.0, 3.0]);
        assert_eq!(weighed.feature_distance.unwrap().values[..], [0.0, 0.5, 0.0, 0.5]);
    }

    #[test]
    fn what_is_no_zone_is_named() {
        let include = |name: &str, corners: &[[f64; 2]]| zone(name, ZoneRule::Include, corners);
        let message = |zones: Vec<Zone>| Zones::try_from(zones).unwrap_err().to_string();
        assert_eq!(message(Vec::new()), "zones are empty; at least one is expected");
        assert_eq!(
            message(vec![include("a", &LEFT), include("a", &UPPER)]),
            "zone 1 has the name `a`; a name that no other zone has is expected"
        );
        assert_eq!(
            message(vec![include("a", &LEFT[..2])]),
            "zone `a` has 2 corners; at least 3 are expected"
        );
        assert_eq!(
            message(vec![include("a", &[[0.0, 0.0], [1.5, 0.0], [0.0, 1.0]])]),
            "zone `a` has a corner at (1.5, 0); shares of width and height in [0, 1] are expected"
        );
        let whole = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        assert_eq!(
            message(vec![zone("a", ZoneRule::Exclude, &whole)]),
            "zones leave nothing of the picture; some part of it is expected to count"
        );
    }

    #[test]
    fn zones_are_read_as_they_were_written_and_checked() {
        let zones = Zones::try_from(vec![zone("road", ZoneRule::Include, &LEFT)]).unwrap();
        let text = serde_json::to_string(&zones).unwrap();
        assert_eq!(serde_json::from_str::<Zones>(&text).unwrap(), zones);
        let wrong = text.replace("0.5", "-0.5");
        assert!(serde_json::from_str::<Zones>(&wrong).is_err());
    }
}
