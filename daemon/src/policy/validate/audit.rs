//! What has no effect in a policy in audit mode: accepted, and said aloud.

use crate::schema::document::PolicyBlock;
use crate::schema::place::{Report, Span};

/// Warns of every key that only an enforcing policy can mean.
pub(super) fn warn(block: &PolicyBlock, report: &mut Report) {
    let Some(mode) = &block.mode else { return };
    let stated: [(&str, Option<Span>); 5] = [
        ("[policy.xdp]", block.xdp.as_ref().map(|block| block.span)),
        ("[policy.anti_spoof]", block.anti_spoof.as_ref().map(|block| block.span)),
        ("ethertypes", block.ethertypes.as_ref().map(|list| list.span)),
        ("dhcp_client", block.dhcp_client.as_ref().map(|flag| flag.span)),
        ("icmpv6_essential", block.icmpv6_essential.as_ref().map(|flag| flag.span)),
    ];
    for (what, span) in stated {
        let Some(span) = span else { continue };
        let place = report.place(mode.span);
        let diagnostic = report.warning(span, format!("`{what}` has no effect in a policy in audit mode"));
        diagnostic.also(place, "because of this").help("only its rules and defaults are audited; put it into an enforcing policy");
    }
}
