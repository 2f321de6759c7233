//! The reactor's contract, kept by every backend that this machine has.
//!
//! Each case runs over epoll, over io_uring as this kernel has it and as Linux 6.1 had it, and on
//! the simulation under 32 seeds. A backend that is missing is reported as skipped; with
//! `SOCKEYE_REQUIRE_URING` set that is a failure. `SIM_SEED=7` runs the simulation with that seed,
//! and `SIM_SEEDS=1000` with so many.
#![allow(unreachable_pub, reason = "a test has no outside")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "the peers are ordinary sockets")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the clock")]

#[path = "conformance/bed.rs"]
mod bed;
#[path = "conformance/chaos.rs"]
mod chaos;
#[path = "conformance/driver.rs"]
mod driver;
#[path = "conformance/life.rs"]
mod life;
#[path = "conformance/listeners.rs"]
mod listeners;
#[path = "conformance/pausing.rs"]
mod pausing;
#[path = "conformance/slow_peers.rs"]
mod slow_peers;
#[path = "conformance/streams.rs"]
mod streams;
#[path = "conformance/waking.rs"]
mod waking;

use std::time::Duration;

use sockeye::reactor::{Config, SimFaults};

use bed::{Epoll, KernelBed, SimBed, Uring, UringOfLinux61};
use driver::Driver;

/// Declares each case as one test per backend.
macro_rules! conformance {
    (all $all:tt owning $owning:tt kernel $kernel:tt) => {
        mod epoll {
            kernel_tests!(Epoll, $all, $owning, $kernel);
        }
        mod uring {
            kernel_tests!(Uring, $all, $owning, $kernel);
        }
        mod uring_of_linux_6_1 {
            kernel_tests!(UringOfLinux61, $all, $owning, $kernel);
        }
        mod sim {
            sim_tests!($all, $owning);
        }
    };
}

macro_rules! kernel_tests {
    (
        $backend:ident,
        [$($all:ident :: $all_case:ident,)*],
        [$($owning:ident :: $owning_case:ident,)*],
        [$($kernel:ident :: $kernel_case:ident,)*]
    ) => {
        use super::*;
        $(#[test]
        fn $all_case() {
            for_each_config(|config| {
                KernelBed::<$backend>::start(config)
                    .map(|bed| $all::$all_case(&mut Driver::new(bed)));
            });
        })*
        $(#[test]
        fn $owning_case() {
            for_each_config(|config| {
                KernelBed::<$backend>::start(config)
                    .map(|bed| $owning::$owning_case(Driver::new(bed)));
            });
        })*
        $(#[test]
        fn $kernel_case() {
            for_each_config($kernel::$kernel_case::<$backend>);
        })*
    };
}

macro_rules! sim_tests {
    (
        [$($all:ident :: $all_case:ident,)*],
        [$($owning:ident :: $owning_case:ident,)*]
    ) => {
        use super::*;
        $(#[test]
        fn $all_case() {
            bed::seeds().for_each(|seed| {
                $all::$all_case(&mut Driver::new(SimBed::start(seed)));
            });
        })*
        $(#[test]
        fn $owning_case() {
            bed::seeds().for_each(|seed| {
                $owning::$owning_case(Driver::new(SimBed::start(seed)));
            });
        })*
    };
}

/// With and without spinning before the sleep.
fn for_each_config(mut run: impl FnMut(&Config)) {
    run(&Config::default());
    run(&Config { busy_poll: Duration::from_micros(50) });
}

conformance! {
    all [
        chaos::anything_may_happen_at_any_time,
        streams::a_line_is_echoed,
        streams::many_small_messages_keep_their_order,
        streams::bytes_that_came_before_open_are_received,
        streams::a_large_transfer_is_received_in_order,
        streams::what_is_received_straight_into_a_place_is_in_order_too,
        streams::nothing_is_received_into_a_place_without_room,
        streams::connections_do_not_mix,
        streams::two_hundred_sockets_with_much_data_lose_nothing,
        streams::no_socket_is_starved_by_a_busy_one,
        streams::the_peer_may_end_its_direction_first,
        streams::the_server_may_end_its_direction_first,
        streams::a_broken_connection_ends_with_an_error,
        streams::a_single_send_may_be_large,
        streams::many_sends_of_one_turn_keep_their_order,
        streams::sends_of_many_sizes_keep_their_order,
        streams::a_gathered_send_may_have_many_pieces,
        streams::a_range_of_a_shared_buffer_is_sent,
        streams::one_buffer_goes_to_many,
        streams::nothing_to_send_is_no_send,
        streams::received_bytes_may_be_changed_in_place,
        streams::a_send_finds_room_in_a_full_queue,
        slow_peers::a_slow_reader_loses_nothing,
        slow_peers::a_large_echo_is_complete,
        slow_peers::several_sends_come_back_in_order,
        slow_peers::several_sends_before_the_first_refusal_come_back_at_once,
        slow_peers::what_came_back_is_told_with_what_was_sent_since,
        slow_peers::what_is_sent_before_writable_is_heard_overtakes_nothing,
        slow_peers::is_blocked_tells_at_once,
        slow_peers::other_sockets_are_not_held_up,
        slow_peers::bytes_are_received_while_nothing_can_be_sent,
        slow_peers::a_shutdown_after_sends_loses_nothing,
        slow_peers::a_break_while_sending_is_an_error_and_stays_one,
        slow_peers::a_break_of_a_paused_slow_reader_is_noticed,
        life::closed_comes_once_and_then_silence,
        life::a_socket_is_closed_in_the_turn_in_which_it_is_opened,
        life::a_close_sends_first_what_was_sent,
        life::a_close_with_unsent_bytes_frees_the_key,
        life::a_close_while_the_peer_writes_frees_the_key,
        life::a_close_after_the_peers_end_frees_the_key,
        life::a_close_while_paused_frees_the_key,
        life::a_slot_may_be_used_again_after_closed,
        life::requests_for_stale_keys_do_nothing,
        life::requests_after_close_do_nothing,
        life::many_connections_come_and_go,
        life::sockets_that_nobody_opened_are_closed,
        pausing::a_paused_socket_receives_a_bounded_amount,
        pausing::a_socket_paused_amid_data_receives_a_bounded_amount,
        pausing::pausing_back_and_forth_loses_nothing,
        pausing::pausing_and_resuming_twice_is_like_once,
        pausing::the_peers_end_is_not_lost_while_paused,
        pausing::a_paused_socket_sends,
        waking::a_waker_is_heard,
        listeners::connections_are_accepted,
        listeners::several_listeners_are_told_apart,
        listeners::a_listeners_number_is_in_use_until_unlisten,
        listeners::accepted_connections_outlive_their_listener,
        listeners::resuming_a_listener_that_does_not_rest_changes_nothing,
    ]
    owning [
        life::dropping_the_reactor_closes_everything,
        waking::a_waker_may_outlive_its_reactor,
    ]
    kernel [
        waking::another_thread_ends_a_wait,
        waking::a_timeout_may_be_as_long_as_there_is,
        waking::no_wake_up_of_many_threads_is_lost,
        waking::a_wait_with_nothing_to_do_sleeps_until_its_timeout,
        waking::an_echo_needs_no_timeout,
        waking::a_close_needs_no_timeout,
        listeners::tcp_over_both_versions_of_ip,
        listeners::peers_over_both_versions_have_their_own_address,
        listeners::unix_sockets,
        listeners::a_busy_unix_listener_is_not_abandoned,
        listeners::workers_share_a_unix_socket,
        listeners::the_port_is_free_after_unlisten,
        listeners::a_port_in_use_is_noticed,
        listeners::clients_connect_from_a_reactor,
    ]
}

#[test]
fn anything_may_happen_in_a_simulation_with_all_faults() {
    bed::seeds().for_each(|seed| {
        let mut driver = Driver::new(SimBed::with_faults(seed, SimFaults::drawn(seed)));
        chaos::anything_may_happen_at_any_time(&mut driver);
        assert_eq!(driver.bed.open_sockets(), 0);
    });
}
