/*
 * websocket-client.js: a WebSocket that comes back by itself.
 *
 *     import { WebSocketClient } from './websocket-client.js';
 *
 *     const client = new WebSocketClient('wss://example.org/ws/chat/lobby');
 *     client.addEventListener('message', (event) => show(event.data));
 *     client.send('kept until the connection is there');
 *
 * It reconnects after every close code but 1000, waits longer after each
 * failure, and keeps a bounded number of messages while it is offline. It
 * connects at once when the browser is back online. It needs no other file
 * and no build step.
 */

/**
 * @typedef {object} WebSocketClientOptions
 * @property {string|string[]} [protocols] subprotocols to offer
 * @property {BinaryType} [binaryType='arraybuffer'] type of binary messages
 * @property {number} [minDelay=1000] ms before the first new attempt; doubles
 *     with each failure
 * @property {number} [maxDelay=30000] ms, the longest wait between attempts
 * @property {number} [jitter=0.5] 0 to 1: the part of each wait that is random
 * @property {number} [restartSpread=5000] ms: more random wait after the close
 *     codes 1001, 1012 and 1013, which a server sends to everybody at once
 * @property {number} [stableAfter=5000] ms that a connection must have lasted
 *     before the waits start again at minDelay
 * @property {number} [connectTimeout=10000] ms until an attempt is given up
 * @property {number} [maxQueueMessages=100] messages kept while offline
 * @property {number} [maxQueueBytes=262144] bytes kept while offline
 * @property {'refuse'|'drop-oldest'} [overflow='refuse'] what happens to a
 *     message beyond these limits: it is refused, or the oldest make room
 * @property {number} [maxBufferedBytes=1048576] bytes that the browser may
 *     hold unsent on an open connection; what comes after is queued here
 * @property {?function(): string} [heartbeat] makes a message that the server
 *     answers; without it a link that died silently is not noticed
 * @property {number} [heartbeatInterval=25000] ms of silence before one is sent
 * @property {number} [heartbeatTimeout=10000] ms to wait for any answer
 * @property {function(): number} [random=Math.random] source of the jitter
 */

/**
 * One call of send(), and what has become of it.
 * 'sent' means handed to the browser's connection; WebSocket has no receipts.
 * @typedef {object} Outgoing
 * @property {string|ArrayBuffer|ArrayBufferView|Blob} data
 * @property {number} size bytes on the wire, without frame headers
 * @property {'queued'|'sent'|'refused'|'dropped'} state
 */

const DEFAULTS = Object.freeze({
    protocols: [],
    binaryType: 'arraybuffer',
    minDelay: 1000,
    maxDelay: 30000,
    jitter: 0.5,
    restartSpread: 5000,
    stableAfter: 5000,
    connectTimeout: 10000,
    maxQueueMessages: 100,
    maxQueueBytes: 256 * 1024,
    overflow: 'refuse',
    maxBufferedBytes: 1024 * 1024,
    heartbeat: null,
    heartbeatInterval: 25000,
    heartbeatTimeout: 10000,
    random: Math.random,
});

const NORMAL_CLOSURE = 1000;
const ABNORMAL_CLOSURE = 1006;
/* Going away, service restart, try again later: RFC 6455 7.4.1 and the
 * IANA registry. Every client gets them in the same moment. */
const RESTART_CODES = new Set([1001, 1012, 1013]);
/* No event tells that bufferedAmount has fallen, so it must be looked at. */
const DRAIN_POLL = 50;

/**
 * Milliseconds to wait before the next attempt.
 * @param {number} failures attempts that failed since the last stable
 *     connection
 * @param {number} code the close code
 * @param {WebSocketClientOptions} options complete options
 * @returns {number}
 */
export function reconnectDelay(failures, code, options) {
    const { minDelay, maxDelay, jitter, restartSpread, random } = options;
    const longest = Math.min(maxDelay, minDelay * 2 ** failures);
    const delay = longest * (1 - jitter * random());
    const spread = RESTART_CODES.has(code) ? restartSpread * random() : 0;
    return Math.round(delay + spread);
}

function byteLength(data) {
    if (typeof data === 'string') {
        return new TextEncoder().encode(data).byteLength;
    }
    return data.byteLength ?? data.size;
}

/**
 * States: 'connecting', 'open', 'waiting' (for the next attempt), 'closing',
 * 'closed'.
 *
 * Events:
 *   statechange  CustomEvent, detail {state, previous}
 *   open         a connection was made
 *   message      MessageEvent with data
 *   close        CustomEvent, detail {code, reason, wasClean, willReconnect}
 *   sent         CustomEvent, detail the Outgoing that has left the queue
 *   dropped      CustomEvent, detail the Outgoing that will never be sent
 */
export class WebSocketClient extends EventTarget {
    #options;
    #url;
    #state = 'closed';
    #socket = null;
    #failures = 0;
    #retryAt = null;
    #queue = [];
    #queueBytes = 0;
    #retryTimer;
    #connectTimer;
    #stableTimer;
    #heartbeatTimer;
    #drainTimer;
    #whenOnline = () => this.#checkLink();
    #whenOffline = () => this.#probe();
    #whenHidden = (event) => this.#leaveForHistory(event);
    #whenShown = (event) => event.persisted && this.#checkLink();

    /**
     * Connects at once; listeners added right after it miss nothing.
     * @param {string|URL} url ws:// or wss://
     * @param {WebSocketClientOptions} [options]
     * @throws {SyntaxError} for an address or subprotocol that is not valid
     */
    constructor(url, options = {}) {
        super();
        this.#url = String(url);
        this.#options = { ...DEFAULTS, ...options };
        this.open();
    }

    /** @returns {string} the address given to the constructor */
    get url() { return this.#url; }

    /** @returns {string} one of the states listed above */
    get state() { return this.#state; }

    /** @returns {?number} when the next attempt is due, as Date.now() */
    get retryAt() { return this.#retryAt; }

    /** @returns {string} the subprotocol that the server chose, or '' */
    get protocol() { return this.#socket?.protocol ?? ''; }

    /** @returns {number} messages that wait to be sent */
    get queuedMessages() { return this.#queue.length; }

    /** @returns {number} bytes not sent yet, here and in the browser */
    get bufferedAmount() {
        return this.#queueBytes + (this.#socket?.bufferedAmount ?? 0);
    }

    /**
     * Connects now: after close(), or without waiting for the next attempt.
     * Does nothing while a connection is open or being made.
     */
    open() {
        if (this.#state !== 'closed' && this.#state !== 'waiting') {
            return;
        }
        this.#connect();
        this.#watchSurroundings(true);
    }

    /**
     * Sends a message, or keeps it until there is a connection.
     * Order is kept. Messages still queued at close() stay queued and are
     * sent after open().
     * @param {string|ArrayBuffer|ArrayBufferView|Blob} data
     * @param {{queue?: boolean}} [how] queue: false for what is worthless
     *     later; it is refused when it cannot be sent now
     * @returns {Outgoing} its state says whether it is sent, queued or refused
     */
    send(data, { queue = true } = {}) {
        const outgoing = { data, size: byteLength(data), state: 'queued' };
        if (this.#queue.length === 0 && this.#canSendNow()) {
            this.#handOver(outgoing);
        }
        else if (queue && this.#makeRoom(outgoing.size)) {
            this.#queue.push(outgoing);
            this.#queueBytes += outgoing.size;
            this.#drainLater();
        }
        else {
            outgoing.state = 'refused';
        }
        return outgoing;
    }

    /**
     * Closes for good: no reconnecting, whatever the code.
     * @param {number} [code=1000] 1000, or 3000 to 4999
     * @param {string} [reason] at most 123 bytes of UTF-8
     * @throws {DOMException} for a code or reason that is not allowed
     */
    close(code = NORMAL_CLOSURE, reason = '') {
        if (this.#socket) {
            this.#socket.close(code, reason);
            this.#setState('closing');
        }
        else {
            this.#stop();
        }
    }

    #setState(state) {
        if (state === this.#state) {
            return;
        }
        const previous = this.#state;
        this.#state = state;
        this.#emit('statechange', { state, previous });
    }

    #emit(type, detail) {
        this.dispatchEvent(new CustomEvent(type, { detail }));
    }

    #connect() {
        const { protocols, binaryType, connectTimeout } = this.#options;
        clearTimeout(this.#retryTimer);
        this.#retryAt = null;
        const socket = new WebSocket(this.#url, protocols);
        socket.binaryType = binaryType;
        this.#socket = socket;
        /* An abandoned socket may still speak; only the current one counts. */
        const ifCurrent = (handle) => (event) => {
            if (socket === this.#socket) {
                handle(event);
            }
        };
        socket.onopen = ifCurrent(() => this.#whenOpen());
        socket.onmessage = ifCurrent((event) => this.#whenMessage(event));
        socket.onclose = ifCurrent((event) => this.#whenClosed(event));
        this.#connectTimer = setTimeout(() => this.#abandon(), connectTimeout);
        this.#setState('connecting');
    }

    #whenOpen() {
        if (this.#state !== 'connecting') {
            return;                         /* close() was called meanwhile */
        }
        clearTimeout(this.#connectTimer);
        this.#stableTimer = setTimeout(() => { this.#failures = 0; },
                                       this.#options.stableAfter);
        this.#awaitSilence();
        this.#setState('open');
        this.dispatchEvent(new Event('open'));
        this.#drain();
    }

    #whenMessage({ data, origin }) {
        this.#awaitSilence();
        this.dispatchEvent(new MessageEvent('message', { data, origin }));
    }

    #whenClosed({ code, reason, wasClean }) {
        const willReconnect = this.#state !== 'closing' &&
                              code !== NORMAL_CLOSURE;
        this.#release();
        if (willReconnect) {
            this.#waitToReconnect(code);
        }
        else {
            this.#stop();
        }
        this.#emit('close', { code, reason, wasClean, willReconnect });
    }

    /* The browser may need minutes to close a socket whose peer is silent. */
    #abandon() {
        const socket = this.#socket;
        this.#whenClosed({ code: ABNORMAL_CLOSURE, reason: '',
                           wasClean: false });
        socket.close();
    }

    #release() {
        clearTimeout(this.#connectTimer);
        clearTimeout(this.#stableTimer);
        clearTimeout(this.#heartbeatTimer);
        clearTimeout(this.#drainTimer);
        this.#drainTimer = undefined;
        this.#socket = null;
    }

    #waitToReconnect(code) {
        const delay = reconnectDelay(this.#failures, code, this.#options);
        this.#failures += 1;
        this.#retryAt = Date.now() + delay;
        this.#retryTimer = setTimeout(() => this.#connect(), delay);
        this.#setState('waiting');
    }

    #stop() {
        clearTimeout(this.#retryTimer);
        this.#retryAt = null;
        this.#failures = 0;
        this.#watchSurroundings(false);
        this.#setState('closed');
    }

    #canSendNow() {
        return this.#state === 'open' &&
               this.#socket.readyState === WebSocket.OPEN &&
               this.#socket.bufferedAmount < this.#options.maxBufferedBytes;
    }

    #handOver(outgoing) {
        this.#socket.send(outgoing.data);
        outgoing.state = 'sent';
    }

    #drain() {
        clearTimeout(this.#drainTimer);
        this.#drainTimer = undefined;
        while (this.#queue.length > 0 && this.#canSendNow()) {
            const outgoing = this.#takeOldest();
            this.#handOver(outgoing);
            this.#emit('sent', outgoing);
        }
        this.#drainLater();
    }

    #drainLater() {
        const needed = this.#queue.length > 0 && this.#state === 'open';
        if (needed && !this.#drainTimer) {
            this.#drainTimer = setTimeout(() => this.#drain(), DRAIN_POLL);
        }
    }

    #takeOldest() {
        const outgoing = this.#queue.shift();
        this.#queueBytes -= outgoing.size;
        return outgoing;
    }

    #fits(size) {
        const { maxQueueMessages, maxQueueBytes } = this.#options;
        return this.#queue.length < maxQueueMessages &&
               this.#queueBytes + size <= maxQueueBytes;
    }

    #makeRoom(size) {
        const { overflow, maxQueueMessages, maxQueueBytes } = this.#options;
        const canEverFit = maxQueueMessages > 0 && size <= maxQueueBytes;
        while (overflow === 'drop-oldest' && canEverFit && !this.#fits(size)) {
            const outgoing = this.#takeOldest();
            outgoing.state = 'dropped';
            this.#emit('dropped', outgoing);
        }
        return this.#fits(size);
    }

    #awaitSilence() {
        clearTimeout(this.#heartbeatTimer);
        if (this.#options.heartbeat) {
            this.#heartbeatTimer = setTimeout(() => this.#probe(),
                                              this.#options.heartbeatInterval);
        }
    }

    /* Asks the server for a sign of life, and gives up without one. */
    #probe() {
        const { heartbeat, heartbeatTimeout } = this.#options;
        if (!heartbeat || this.#socket?.readyState !== WebSocket.OPEN) {
            return;
        }
        this.#socket.send(heartbeat());
        clearTimeout(this.#heartbeatTimer);
        this.#heartbeatTimer = setTimeout(() => this.#abandon(),
                                          heartbeatTimeout);
    }

    /* The network is back: the old connection may or may not have survived. */
    #checkLink() {
        if (this.#state === 'waiting') {
            this.#connect();
        }
        else {
            this.#probe();
        }
    }

    /* A page kept for the back button would hold its connection, and others
     * would see somebody who is not there. It connects again when shown. */
    #leaveForHistory({ persisted }) {
        const connected = this.#state === 'open' ||
                          this.#state === 'connecting';
        if (persisted && connected) {
            this.#abandon();
        }
    }

    #watchSurroundings(on) {
        const change = on ? 'addEventListener' : 'removeEventListener';
        globalThis[change]('online', this.#whenOnline);
        globalThis[change]('offline', this.#whenOffline);
        globalThis[change]('pagehide', this.#whenHidden);
        globalThis[change]('pageshow', this.#whenShown);
    }
}
