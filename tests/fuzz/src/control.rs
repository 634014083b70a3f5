//! Lines on the control socket: a request that is understood says the same when it is written again; its elements are proven whole.

use netpol_ebpf::policy::{duration, elements};
use netpol_ebpf::report::sets;
use netpol_ebpf::trigger::control::{Reply, Request};

/// The input as a request, and as a reply.
pub fn run(bytes: &[u8]) {
    if let Ok(reply) = serde_json::from_slice::<Reply>(bytes) {
        assert!(serde_json::to_vec(&reply).is_ok());
    }
    let Ok(request) = Request::read(bytes) else { return };
    let written = serde_json::to_vec(&request).expect("a request can be written");
    assert_eq!(Request::read(&written).expect("and read again"), request);
    assert!(!request.name().is_empty());
    match &request {
        Request::SetAdd { elements, .. } | Request::SetDel { elements, .. } => elements.iter().for_each(|text| proven(text)),
        Request::SetReplace { file, list, .. } => match elements::list(file, list, &mut |_| ()) {
            Ok(nets) => assert!(nets.iter().all(|net| net.trunc() == *net)),
            Err(errors) => assert!(!errors.is_empty()),
        },
        _ => {}
    }
}

fn proven(text: &str) {
    match elements::prefixes(text) {
        Ok(nets) => {
            assert!(!nets.is_empty() && nets.iter().all(|net| net.trunc() == *net));
            // Told and asked again it is the same.
            for net in &nets {
                assert_eq!(elements::prefixes(&net.to_string()).expect("a prefix"), [*net]);
            }
        }
        Err(sentence) => assert!(!sentence.is_empty()),
    }
    if let Ok(seconds) = duration(text) {
        assert!(!sets::duration(seconds).is_empty());
    }
}
