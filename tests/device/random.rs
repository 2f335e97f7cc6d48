//! Properties: no bytes make the judge panic; nothing changed stays accepted; whatever is accepted,
//! openssl accepts.

use crate::{
    paths::openssl_agrees,
    pki::{Ca, Der, NOW, plain},
};
use m0v::device::judge::{self, Anchor, Anchors, vouching_ca};
use proptest::{collection::vec, prelude::*};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd};
use std::{fs, sync::LazyLock};

static ROOT: LazyLock<Ca> = LazyLock::new(|| Ca::root("root", &plain));
static MIDDLE: LazyLock<Ca> = LazyLock::new(|| ROOT.sub("middle", &plain));
static CHAIN: LazyLock<[Der; 2]> = LazyLock::new(|| [MIDDLE.leaf("device", &plain), MIDDLE.der.clone()]);

#[test]
fn the_fuzzers_corpus_is_judged() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/certificate");
    let mut good = 0;
    for file in fs::read_dir(folder).expect("the corpus is committed") {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let (mut rest, mut chain): (&[u8], Vec<Der>) = (&bytes, Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (der, after) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
            chain.push(der.to_vec().into());
            rest = after;
        }
        let Some(first) = chain.first() else { continue };
        good += usize::from(judge::leaf(first, m0v::store::now()).is_ok());
        let active = chain.iter().filter_map(|der| Anchor::read("", der).ok()).collect();
        vouching_ca(&chain, &Anchors::new(active, vec![]), None, NOW).ok();
    }
    assert!(good >= 3, "the seeds are certificates");
}

/// What may be wrong with one certificate of a random chain.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    None,
    Expired,
    NoCa,
    ShortPath,
    NoSigner,
    ForServers,
    OtherKey,
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        12 => Just(Flaw::None),
        1 => Just(Flaw::Expired),
        1 => Just(Flaw::NoCa),
        1 => Just(Flaw::ShortPath),
        1 => Just(Flaw::NoSigner),
        1 => Just(Flaw::ForServers),
        1 => Just(Flaw::OtherKey),
    ]
}

fn below(above: &Ca, name: &str, flaw: Flaw) -> Ca {
    let stranger;
    let above = match flaw {
        Flaw::OtherKey => {
            stranger = Ca::root("root", &plain);
            &stranger
        }
        _ => above,
    };
    above.sub(name, &|it| match flaw {
        Flaw::None | Flaw::OtherKey => {}
        Flaw::Expired => it.not_after = date_time_ymd(2025, 12, 31),
        Flaw::NoCa => it.is_ca = IsCa::ExplicitNoCa,
        Flaw::ShortPath => it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
        Flaw::NoSigner => it.key_usages = vec![KeyUsagePurpose::CrlSign],
        Flaw::ForServers => it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_judge_panic(bytes in vec(any::<u8>(), 0..600), now in any::<i64>()) {
        prop_assert!(judge::leaf(&bytes, now).is_err());
        prop_assert!(Anchor::read("", &bytes).is_err());
    }

    #[test]
    fn a_certificate_with_a_byte_changed_is_nobodys(
        which in 0..2_usize,
        changes in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let mut chain: Vec<Der> = CHAIN.to_vec();
        let mut der = chain[which].to_vec();
        for (at, change) in changes {
            let at = at.index(der.len());
            der[at] ^= change;
        }
        prop_assume!(der[..] != CHAIN[which][..]);
        judge::leaf(&der, NOW).ok();
        Anchor::read("", &der).ok();
        chain[which] = der.into();
        let anchors = Anchors::new(vec![ROOT.anchor()], vec![]);
        prop_assert!(vouching_ca(&chain, &anchors, None, NOW).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_openssl_accepts(flaws in vec(flaw(), 0..4), order in any::<prop::sample::Index>()) {
        let mut chain = Vec::new();
        let mut above = None;
        for (depth, flaw) in flaws.iter().enumerate() {
            let next = below(above.as_ref().unwrap_or(&*ROOT), &format!("ca {depth}"), *flaw);
            chain.push(next.der.clone());
            above = Some(next);
        }
        let leaf = above.as_ref().unwrap_or(&*ROOT).leaf("device", &plain);
        let turn = order.index(chain.len().max(1));
        chain.rotate_left(turn);
        chain.insert(0, leaf);
        let anchors = Anchors::new(vec![ROOT.anchor()], vec![]);
        let accepted = vouching_ca(&chain, &anchors, None, NOW);
        let is_sound = flaws.iter().enumerate().all(|(depth, flaw)| match flaw {
            Flaw::None => true,
            Flaw::ShortPath => depth + 1 == flaws.len(),
            _ => false,
        });
        prop_assert_eq!(accepted.is_ok(), is_sound, "{:?}", accepted.map(Anchor::subject));
        if is_sound {
            openssl_agrees(&chain, &ROOT);
        }
    }
}
