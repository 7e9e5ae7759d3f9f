/** How often the planner looks at what is late, ms; also how often a holder reports. */
export const TICK_MS = 100

/** Hosts that a plan names: with 7 dials of each the mean degree is 14, enough for 14 requests in flight. */
export const PEERS_PER_PLAN = 7
/** Hosts that one message names at most; the protocol's limit. */
export const MAX_NAMED_PEERS = 64
/** A host with fewer live neighbours may ask for more. */
export const PEERS_ENOUGH = 12
/** No host is named to others beyond this many connections. */
export const DEGREE_CAP = 20
/** Hosts asked for later only up to here, so that newcomers always find room: else they could only join each other. */
export const DEGREE_SHARED = (DEGREE_CAP * 3) / 4
/** A host that alone has a piece may be named beyond the cap, up to here. */
export const DEGREE_HARD_CAP = 2 * DEGREE_CAP

/** Hosts that fetch one blob from the registry at once. */
export const HOLDERS_PER_BLOB = 8
/**
 * A host that asks when more than this share of a blob has been fetched is no holder while there are others: what it
 * takes from peers competes with its stream from the registry, and the others wait for that one.
 */
export const LATE_SHARE = 0.1
/** Runs for a host of which no rate is known. */
export const FIRST_RUNS = 2
/** A holder has leases for as long as this, ms: more than a report and its answer take. */
export const LEASE_AHEAD_MS = 250
/**
 * What a holder gets so that enough is out takes it no longer than this, ms: on a slow link the first host that asks would
 * have half of a blob in hand, and those that ask a moment later wait for its uplink.
 */
export const LEASE_LONGEST_MS = 1_000
/** Leases out per blob at least, so that few holders are never short of work between two reports. */
export const RUNS_OUT_PER_BLOB = 16
/** Leases of one holder and blob at most: what is lost with a host that dies. */
export const MAX_RUNS_PER_HOLDER = 32
/**
 * Runs of an image's layers leased to one host at a time: with more, the first hosts that ask hold all of the small ones
 * and the others wait; with fewer, a host runs dry between two reports.
 */
export const FIRST_PLAN_RUNS = 6

/**
 * A holder that says nothing for so long is given up, ms. A process that dies closes its connection, so only a host
 * that vanishes is found this way; in simulation 750 ms finish no sooner, and a busy machine is silent for longer.
 */
export const SILENT_MS = 2_500
/** The same where links are slow and runs take seconds, ms. */
export const MAX_SILENT_MS = 5_000
/** Leases taken away go to holders heard within this time, ms. */
export const ALIVE_MS = 300
/** A run without progress for this many times what it should take is late; never before LATE_MIN_MS, as above. */
export const LATE_FACTOR = 4
export const LATE_MIN_MS = 2_500
/** A rate measured in a bad moment must not make a holder wait for ever, ms. */
export const LATE_MAX_MS = 30_000
/** Two ticks further apart than this mean that this process was held up: nobody's silence counts then, ms. */
export const HELD_UP_MS = 300

/** Asked to hold no lease: below this share of the median link rate that the swarm states. */
export const SLOW_LINK_SHARE = 1 / 2
/** Holder no more: below this share of the holders' median pace. */
export const SLOW_HOLDER_SHARE = 1 / 3
/**
 * A pace is taken over so long, ms. New connections to the registry need it for their share of its link beside one that
 * came first, and over less the pieces that happen to end make all but one holder look slow: their runs were fetched twice.
 */
export const PACE_MS = 3_000
/** Stated rates kept per blob for the median. */
export const MAX_STATED_RATES = 64

/** A host that gave leases back gets none of the blob for so long, ms. */
export const PAUSE_MS = 1_000
/** After so many failures it gets none of the blob at all. */
export const MAX_FAILURES = 3

/** After a restart nothing is leased for so long, ms: those who hold leases come back first. */
export const QUIET_MS = 1_000
/** While they keep coming it is longer, up to this, ms: an agent's third attempt to reconnect. */
export const MAX_QUIET_MS = 3_000

/** Hosts of a zone that import a blob for it: several, since each also serves its zone with what it imports. */
export const GATEWAYS_PER_ZONE = 4
/** Hosts of other zones that a gateway is connected to; with many zones it knows fewer of each. */
export const MAX_IMPORT_LINKS = 32
/** The same piece is looked for once in this time, ms. */
export const ORPHAN_MS = 1_000
/** A holder is asked for its map again after this, ms. */
export const MAP_RETRY_MS = 5_000

/**
 * Pieces of a blob that is planned for: half a TiB, whose map just fits a message. A host fetches a larger one by itself;
 * what a host only says of one must not cost this process its memory.
 */
export const MAX_PLANNED_PIECES = 2 ** 17 - 2 ** 7
/** Blobs that one host may be fetching: more than a host ever does, and it is what a host that never ends one may cost. */
export const MAX_WANTS_PER_HOST = 4096
