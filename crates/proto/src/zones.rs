//! Zones of a camera's picture, to the wire and back.

use protoguard_core::{Corner, Zone, ZoneRule, Zones};

use crate::v1;
use crate::violation::{FieldViolation, Violations};

/// Zones as they travel.
pub(crate) fn zones_to_wire(zones: Option<&Zones>) -> Vec<v1::Zone> {
    zones.map(Zones::zones).unwrap_or_default().iter().map(v1::Zone::from).collect()
}

impl From<&Zone> for v1::Zone {
    fn from(zone: &Zone) -> Self {
        let rule = match zone.rule {
            ZoneRule::Include => v1::ZoneRule::Include,
            ZoneRule::Exclude => v1::ZoneRule::Exclude,
        };
        let corner = |&Corner { x, y }: &Corner| v1::Corner { x, y };
        Self {
            name: zone.name.clone(),
            rule: rule.into(),
            polygon: zone.polygon.iter().map(corner).collect(),
        }
    }
}

/// The zones of a message; nothing where it has none.
pub(crate) fn zones_from_wire(zones: Vec<v1::Zone>) -> Result<Option<Zones>, Violations> {
    if zones.is_empty() {
        return Ok(None);
    }
    let read = zones.into_iter().enumerate().map(|(index, zone)| {
        let rule = match zone.rule() {
            v1::ZoneRule::Include => ZoneRule::Include,
            v1::ZoneRule::Exclude => ZoneRule::Exclude,
            v1::ZoneRule::Unspecified => {
                let description =
                    format!("is {}; accepted are ZONE_RULE_INCLUDE, ZONE_RULE_EXCLUDE", zone.rule);
                return Err(FieldViolation::new(format!("zones[{index}].rule"), description));
            }
        };
        let corner = |v1::Corner { x, y }| Corner { x, y };
        let polygon = zone.polygon.into_iter().map(corner).collect();
        Ok(Zone { name: zone.name, rule, polygon })
    });
    let zones: Vec<Zone> = read.collect::<Result<_, _>>()?;
    Zones::try_from(zones)
        .map(Some)
        .map_err(|error| FieldViolation::new("zones", format!("are none: {error}")).into())
}
