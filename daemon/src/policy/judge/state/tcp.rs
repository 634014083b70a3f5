//! The life of a TCP connection, as far as a firewall follows it.
//!
//! Knows flags and sequence numbers. Knows no table and no rule.

use super::super::packet::{ACK, FIN, RST, SYN, Tcp};
use super::flow::{Flow, FlowState};

/// SYN without ACK, RST and FIN: the only segment that may open a connection.
pub(super) fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// The second segment of a handshake. With RST it is a reset, as the receiver takes it (RFC 9293, 3.10.7).
pub(super) fn is_syn_ack(flags: u8) -> bool {
    flags & (SYN | ACK | RST) == SYN | ACK
}

/// Whether a segment in mid-stream may begin a flow, where that is allowed at all: a RST ends something, and a SYN-ACK answers.
pub(super) fn may_begin(flags: u8) -> bool {
    flags & RST == 0 && !is_syn_ack(flags)
}

/// Whether a SYN-ACK may answer the flow: it comes from the other side and, in a new flow, acknowledges the SYN.
pub(super) fn may_answer(flow: &Flow, tcp: &Tcp, forward: bool) -> bool {
    !forward && (flow.state != FlowState::New || tcp.acknowledgement == flow.isn.wrapping_add(1))
}

/// The state that a segment leads to; the flow's numbers are noted on the way. Segments that count for nothing change nothing.
pub(super) fn advance(flow: &mut Flow, tcp: &Tcp, forward: bool) -> FlowState {
    let (side, other) = if forward { (0, 1) } else { (1, 0) };
    let reached = if ends_handshake(flow, tcp, forward) { FlowState::Established } else { flow.state };
    if tcp.flags & RST != 0 {
        return if reset_counts(flow, tcp, side, other) { FlowState::Closed } else { flow.state };
    }
    if is_syn_ack(tcp.flags) {
        let early = matches!(flow.state, FlowState::New | FlowState::Answered);
        if early {
            flow.syn_ack_end = Some(tcp.sequence.wrapping_add(1));
            flow.acks[side] = Some(tcp.acknowledgement);
        }
        return if early { FlowState::Answered } else { flow.state };
    }
    if tcp.flags & FIN != 0 {
        flow.fins[side] = Some(tcp.sequence.wrapping_add(tcp.sequence_length));
    }
    if tcp.flags & ACK != 0 {
        flow.acks[side] = Some(tcp.acknowledgement);
        flow.fins_acknowledged[other] |= flow.fins[other] == Some(tcp.acknowledgement);
    }
    match (reached, flow.fins_acknowledged) {
        (FlowState::Established | FlowState::Closing, [true, true]) => FlowState::Closed,
        (FlowState::Established, [true, false] | [false, true]) => FlowState::Closing,
        (state, _) => state,
    }
}

/// A RST counts only exactly in sequence: at what the other side acknowledged last, or with the acknowledgement that its own side
/// sent last.
fn reset_counts(flow: &Flow, tcp: &Tcp, side: usize, other: usize) -> bool {
    let in_sequence = flow.acks[other] == Some(tcp.sequence);
    in_sequence || (tcp.flags & ACK != 0 && flow.acks[side] == Some(tcp.acknowledgement))
}

/// Whether the flow is a connection with this segment: the opener acknowledges the SYN-ACK; or, where a segment in mid-stream began the
/// flow, the other side acknowledges anything. The opener's first acknowledgement may be lost and a later one, that covers data as well,
/// take its place.
pub(super) fn ends_handshake(flow: &Flow, tcp: &Tcp, forward: bool) -> bool {
    let covers = |end: u32| tcp.acknowledgement.wrapping_sub(end) < 1 << 30;
    let acknowledges = tcp.flags & (ACK | RST) == ACK && !is_syn_ack(tcp.flags);
    match flow.state {
        FlowState::New => !forward && acknowledges && !opens(flow.tcp_flags),
        FlowState::Answered => forward && acknowledges && flow.syn_ack_end.is_some_and(covers),
        _ => false,
    }
}
