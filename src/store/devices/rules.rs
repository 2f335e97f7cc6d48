//! What may be listed, on which grounds: pure, the same for both engines.

use super::{Device, Enrolment, Grounds, Listed, NotEnrolled, Role, Status};

/// The CA of the grounds, as its row says.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Issuer {
    pub(in crate::store) status: Status,
    pub(in crate::store) auto_register: bool,
    /// Devices it has got within an hour.
    pub(in crate::store) made_in_hour: i64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Allowed {
    /// The device's status from now on.
    pub(in crate::store) new_status: Status,
    /// For a certificate that is listed already: what it entitles to from now on, if that changes.
    pub(in crate::store) new_role: Option<Role>,
}

/// Whether a certificate may be listed, given the CA of its grounds, its device and its entry, if
/// they are there.
pub(in crate::store) fn judge(
    enrolment: &Enrolment,
    issuer: Option<&Issuer>,
    device: Option<&Device>,
    listed: Option<&Listed>,
) -> Result<Allowed, NotEnrolled> {
    if let Some(listed) = listed {
        if listed.device_id != enrolment.device_id {
            return Err(NotEnrolled::OtherDevice { device_id: listed.device_id.clone() });
        }
        if listed.status == Status::Revoked {
            return Err(NotEnrolled::Revoked);
        }
    }
    if device.is_some_and(|device| device.status == Status::Revoked) {
        return Err(NotEnrolled::Revoked);
    }
    let issuer = issuer.filter(|issuer| issuer.status == Status::Active);
    let before = device.map(|device| device.status);
    let new_status = match (&enrolment.grounds, issuer, device) {
        (Grounds::Listed, _, _) => Status::Active,
        (Grounds::Issued { .. } | Grounds::JustInTime { .. }, None, _) => return Err(NotEnrolled::UnknownCa),
        (Grounds::Issued { .. }, Some(_), _) => Status::Active,
        (Grounds::JustInTime { .. }, Some(_), Some(_)) if listed.is_some() => {
            before.unwrap_or(Status::Active)
        }
        (Grounds::JustInTime { ca_id, .. }, Some(_), Some(device)) => {
            if device.ca_id.as_ref() != Some(ca_id) {
                return Err(NotEnrolled::NameTaken { ca_id: device.ca_id.clone() });
            }
            device.status
        }
        (Grounds::JustInTime { max_per_hour, .. }, Some(issuer), None) => {
            if issuer.made_in_hour >= *max_per_hour {
                return Err(NotEnrolled::TooManyNew);
            }
            if issuer.auto_register { Status::Active } else { Status::Pending }
        }
    };
    let is_raised = matches!(enrolment.grounds, Grounds::Listed)
        && enrolment.role == Role::Service
        && listed.is_some_and(|listed| listed.role == Role::Device);
    Ok(Allowed { new_status, new_role: is_raised.then_some(Role::Service) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CA: &str = "ca";

    fn enrolment(grounds: Grounds) -> Enrolment {
        Enrolment {
            device_id: "d".into(),
            model_number: None,
            certificate_id: "c".into(),
            pem: String::new(),
            not_after: 0,
            role: Role::Device,
            grounds,
        }
    }

    fn just_in_time() -> Enrolment {
        enrolment(Grounds::JustInTime { ca_id: CA.into(), max_per_hour: 2 })
    }

    fn issued() -> Enrolment {
        enrolment(Grounds::Issued { ca_id: CA.into() })
    }

    fn issuer(status: Status, auto_register: bool, made_in_hour: i64) -> Issuer {
        Issuer { status, auto_register, made_in_hour }
    }

    fn device(status: Status, ca_id: Option<&str>) -> Device {
        Device {
            device_id: "d".into(),
            model_number: None,
            pub_id: Some(1),
            status,
            ca_id: ca_id.map(Into::into),
            created_at: 0,
        }
    }

    fn listed(device_id: &str, status: Status) -> Listed {
        Listed {
            certificate_id: "c".into(),
            device_id: device_id.into(),
            pub_id: Some(1),
            ca_id: None,
            role: Role::Device,
            status,
            not_after: 0,
        }
    }

    fn becomes(new_status: Status) -> Result<Allowed, NotEnrolled> {
        Ok(Allowed { new_status, new_role: None })
    }

    use Status::{Active, Pending, Revoked};

    #[test]
    fn a_device_that_shows_a_certificate_is_registered_within_bounds() {
        let on = Some(issuer(Active, true, 1));
        let asks = [
            Some(issuer(Active, false, 0)),
            Some(issuer(Active, true, 2)),
            Some(issuer(Revoked, true, 0)),
            None,
        ];
        let new = |issuer: Option<Issuer>| judge(&just_in_time(), issuer.as_ref(), None, None);
        assert_eq!(new(on), becomes(Active));
        assert_eq!(
            asks.map(new),
            [
                becomes(Pending),
                Err(NotEnrolled::TooManyNew),
                Err(NotEnrolled::UnknownCa),
                Err(NotEnrolled::UnknownCa)
            ]
        );
        // A known device with another certificate of its CA: the bound is for new devices.
        let full = issuer(Active, true, 99);
        let known = |device: Device| judge(&just_in_time(), Some(&full), Some(&device), None);
        assert_eq!(known(device(Active, Some(CA))), becomes(Active));
        assert_eq!(known(device(Pending, Some(CA))), becomes(Pending), "still waits");
        assert_eq!(known(device(Revoked, Some(CA))), Err(NotEnrolled::Revoked));
        assert_eq!(known(device(Active, None)), Err(NotEnrolled::NameTaken { ca_id: None }));
        let taken = NotEnrolled::NameTaken { ca_id: Some("other".into()) };
        assert_eq!(known(device(Active, Some("other"))), Err(taken));
        // A race that somebody else won.
        let again =
            judge(&just_in_time(), Some(&full), Some(&device(Active, None)), Some(&listed("d", Active)));
        assert_eq!(again, becomes(Active));
    }

    #[test]
    fn who_may_list_may_approve_but_not_bring_back() {
        let waiting = device(Pending, Some("other"));
        assert_eq!(judge(&enrolment(Grounds::Listed), None, Some(&waiting), None), becomes(Active));
        let on = issuer(Active, false, 99);
        assert_eq!(judge(&issued(), Some(&on), Some(&waiting), None), becomes(Active));
        assert_eq!(judge(&issued(), None, None, None), Err(NotEnrolled::UnknownCa));
        for enrolment in [enrolment(Grounds::Listed), issued(), just_in_time()] {
            let revoked =
                judge(&enrolment, Some(&on), Some(&device(Active, None)), Some(&listed("d", Revoked)));
            assert_eq!(revoked, Err(NotEnrolled::Revoked));
            let other = judge(&enrolment, Some(&on), None, Some(&listed("e", Active)));
            assert_eq!(other, Err(NotEnrolled::OtherDevice { device_id: "e".into() }));
        }
    }

    #[test]
    fn a_listing_raises_the_role_and_never_lowers_it() {
        let service = Enrolment { role: Role::Service, ..enrolment(Grounds::Listed) };
        let device = device(Active, None);
        let role = |enrolment: &Enrolment, role| {
            let listed = Listed { role, ..listed("d", Active) };
            judge(enrolment, None, Some(&device), Some(&listed)).unwrap().new_role
        };
        assert_eq!(role(&service, Role::Device), Some(Role::Service));
        assert_eq!(role(&service, Role::Service), None);
        assert_eq!(role(&enrolment(Grounds::Listed), Role::Service), None);
    }
}
