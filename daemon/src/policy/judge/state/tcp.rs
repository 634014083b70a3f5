//! The life of a TCP connection, as far as a firewall follows it.
//!
//! Knows flags and sequence numbers. Knows no table and no rule.

use super::super::packet::{ACK, FIN, RST, SYN, Tcp};
use super::flow::{Flow, FlowState};

/// SYN without ACK, RST and FIN: the only segment that may open a connection.
pub(super) fn opens(flags: u8) -> bool {
    flags & (SYN | ACK | RST | FIN) == SYN
}

/// The second segment of a handshake.
pub(super) fn is_syn_ack(flags: u8) -> bool {
    flags & (SYN | ACK) == SYN | ACK
}

/// Whether a SYN-ACK may answer the flow: it comes from the other side and, in a new flow, acknowledges the SYN.
pub(super) fn may_answer(flow: &Flow, tcp: &Tcp, forward: bool) -> bool {
    !forward && (flow.state != FlowState::New || tcp.acknowledgement == flow.isn.wrapping_add(1))
}

/// The state that a segment leads to; the flow's numbers are noted on the way. Segments that count for nothing change nothing.
pub(super) fn advance(flow: &mut Flow, tcp: &Tcp, forward: bool) -> FlowState {
    let (side, other) = if forward { (0, 1) } else { (1, 0) };
    if tcp.flags & RST != 0 {
        return if reset_counts(flow, tcp, side, other) { FlowState::Closed } else { flow.state };
    }
    if is_syn_ack(tcp.flags) && flow.state == FlowState::New {
        flow.syn_ack_end = Some(tcp.sequence.wrapping_add(1));
        flow.acks[side] = Some(tcp.acknowledgement);
        return FlowState::Answered;
    }
    if tcp.flags & FIN != 0 {
        flow.fins[side] = Some(tcp.sequence.wrapping_add(tcp.sequence_length));
    }
    if tcp.flags & ACK != 0 {
        flow.acks[side] = Some(tcp.acknowledgement);
        flow.fins_acknowledged[other] |= flow.fins[other].is_some_and(|fin| reaches(tcp.acknowledgement, fin));
    }
    match (flow.state, flow.fins_acknowledged) {
        (FlowState::Answered, _) if forward && tcp.flags & ACK != 0 && Some(tcp.acknowledgement) == flow.syn_ack_end => {
            FlowState::Established
        }
        (FlowState::Established | FlowState::Closing, [true, true]) => FlowState::Closed,
        (FlowState::Established, [true, false] | [false, true]) => FlowState::Closing,
        (state, _) => state,
    }
}

/// A RST counts only exactly in sequence: at what the other side acknowledged last, or with the acknowledgement that its own side
/// sent last (the refusal of a SYN acknowledges just that SYN).
fn reset_counts(flow: &Flow, tcp: &Tcp, side: usize, other: usize) -> bool {
    let refuses_opening = flow.state == FlowState::New && side == 1 && tcp.acknowledgement == flow.isn.wrapping_add(1);
    let acknowledges = flow.acks[side] == Some(tcp.acknowledgement) || refuses_opening;
    flow.acks[other] == Some(tcp.sequence) || (tcp.flags & ACK != 0 && acknowledges)
}

/// Whether an acknowledgement number has come to `wanted` (RFC 1982 comparison).
fn reaches(acknowledgement: u32, wanted: u32) -> bool {
    acknowledgement.wrapping_sub(wanted) < 1 << 31
}
