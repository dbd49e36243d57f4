/* chat.js: the chat page. What people write reaches the DOM as textContent
 * only; what they may write is checked here as the server checks it. */
import { WebSocketClient } from './websocket-client.js';
import { chooseLanguage, strings } from './strings.js';

const DEFAULT_ROOM = 'lobby';
const MAX_NAME = 40;                    /* code points, as on the server */
const MAX_MESSAGE = 2000;
const COUNT_FROM = 200;                 /* characters left */
const MAX_ITEMS = 500;
const MAX_NAMES = 500;
const MAX_TYPING = 50;
const TYPING_RENEW = 3000;              /* ms */
const TYPING_IDLE = 4000;
const TYPING_EXPIRES = 6000;            /* longer than one renewal */
const NAME_KEY = 'chat.name';

const parameters = new URLSearchParams(location.search);
const { language, locales } = chooseLanguage(parameters.get('lang'),
                                             navigator.languages);
const texts = strings[language];
const element = (id) => document.getElementById(id);
const codePoints = (text) => [...text].length;

let client = null;
let room = DEFAULT_ROOM;

/* ---- language ---- */

function translatePage() {
    document.documentElement.lang = language;
    for (const node of document.querySelectorAll('[data-text]')) {
        node.textContent = texts[node.dataset.text];
    }
    for (const node of document.querySelectorAll('[data-label]')) {
        node.ariaLabel = texts[node.dataset.label];
    }
    for (const node of document.querySelectorAll('[data-placeholder]')) {
        node.placeholder = texts[node.dataset.placeholder];
    }
    element('about').hash = language === 'en' ? '' : language;
}

const timeFormat = new Intl.DateTimeFormat(locales, { timeStyle: 'short' });
const dateFormat = new Intl.DateTimeFormat(locales, { dateStyle: 'full',
                                                      timeStyle: 'medium' });

function makeTime(timestamp) {
    const stated = new Date(timestamp);
    const when = Number.isNaN(stated.getTime()) ? new Date() : stated;
    const node = document.createElement('time');
    node.dateTime = when.toISOString();
    node.title = dateFormat.format(when);
    node.textContent = timeFormat.format(when);
    return node;
}

/* ---- names ---- */

const names = new Map();                /* client ID to the last name seen */

function nameOf(id, username) {
    /* The server's default is English; say it in the page's language. */
    if (username && username !== `Client ${id}`) {
        names.set(id, String(username));
        if (names.size > MAX_NAMES) {
            names.delete(names.keys().next().value);
        }
    }
    return names.get(id) ?? texts.client(id);
}

const myName = () => element('name').value.trim();

function withName(message) {
    const username = myName();
    return JSON.stringify(username ? { ...message, username } : message);
}

function loadName() {
    try {
        element('name').value = localStorage.getItem(NAME_KEY) ?? '';
    }
    catch {
        /* Storage is forbidden here: the name lasts as long as the page. */
    }
    limitName();
}

function saveName() {
    try {
        localStorage.setItem(NAME_KEY, myName());
    }
    catch {
        /* As above. */
    }
}

function limitName() {
    const field = element('name');
    if (codePoints(field.value) > MAX_NAME) {
        field.value = [...field.value].slice(0, MAX_NAME).join('');
    }
}

/* ---- the list of messages ---- */

function isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = element('log');
    return scrollHeight - scrollTop - clientHeight < 48;
}

function scrollToEnd() {
    const log = element('log');
    log.scrollTop = log.scrollHeight;
    element('newest').hidden = true;
}

function addItem(item) {
    const follow = isAtEnd();
    const list = element('messages');
    list.append(item);
    while (list.childElementCount > MAX_ITEMS) {
        list.firstElementChild.remove();
    }
    if (follow) {
        scrollToEnd();
    }
    else {
        element('newest').hidden = false;
    }
}

function makeNode(tag, className, text) {
    const node = document.createElement(tag);
    node.className = className;
    node.textContent = text;
    return node;
}

function addEvent(text, timestamp) {
    const item = makeNode('li', 'event', '');
    item.append(makeNode('span', 'what', text), ' ', makeTime(timestamp));
    addItem(item);
}

function addMessage(className, who, text, timestamp, ...more) {
    const item = makeNode('li', className, '');
    const head = makeNode('p', 'head', '');
    const author = makeNode('span', 'who', who);
    const body = makeNode('p', 'body', text);
    author.dir = 'auto';
    body.dir = 'auto';
    head.append(author, ' ', makeTime(timestamp), ...more);
    item.append(head, body);
    addItem(item);
}

const statusOf = new WeakMap();         /* an Outgoing to its status line */

function addOwnMessage(text, outgoing) {
    const status = makeNode('span', 'status', '');
    statusOf.set(outgoing, status);
    showStatus(outgoing);
    addMessage('message own', texts.you, text, Date.now(), ' ', status);
    scrollToEnd();
}

function showStatus(outgoing) {
    const status = statusOf.get(outgoing);
    if (status) {
        status.dataset.status = outgoing.state;
        status.textContent = texts[outgoing.state];
    }
}

/* ---- who is typing ---- */

const typists = new Map();              /* client ID to {name, timer} */

function setTyping(id, name, isTyping) {
    clearTimeout(typists.get(id)?.timer);
    typists.delete(id);
    if (isTyping && typists.size < MAX_TYPING) {
        const timer = setTimeout(() => setTyping(id, name, false),
                                 TYPING_EXPIRES);
        typists.set(id, { name, timer });
    }
    element('typing').textContent = typingText();
}

function typingText() {
    const [one, two, ...more] = [...typists.values()].map(({ name }) => name);
    if (more.length > 0) {
        return texts.typingMany(typists.size);
    }
    if (two) {
        return texts.typingTwo(one, two);
    }
    return one ? texts.typingOne(one) : '';
}

function clearTypists() {
    for (const id of [...typists.keys()]) {
        setTyping(id, '', false);
    }
}

let typingToldAt = 0;
let typingTimer;

function tellTyping(isTyping) {
    clearTimeout(typingTimer);
    if (isTyping) {
        typingTimer = setTimeout(() => tellTyping(false), TYPING_IDLE);
    }
    const due = isTyping ? Date.now() - typingToldAt > TYPING_RENEW
                         : typingToldAt > 0;
    if (due) {
        typingToldAt = isTyping ? Date.now() : 0;
        client?.send(withName({ type: 'typing', isTyping }), { queue: false });
    }
}

/* ---- notices ---- */

/* What the server says is English, whatever the page's language. */
function showNotice(text, serverText = '') {
    const quoted = makeNode('span', '', serverText);
    quoted.lang = 'en';
    element('notice').hidden = false;
    element('notice-text').replaceChildren(text, ' ', quoted);
}

function hideLengthNotice() {
    const shown = element('notice-text').textContent.trim();
    if (shown === texts.tooLong(MAX_MESSAGE)) {
        hideNotice();
    }
}

function hideNotice() {
    element('notice').hidden = true;
    element('notice-text').textContent = '';
}

/* ---- what the server sends ---- */

const receivers = {
    welcome({ clientId: id, timestamp }) {
        addEvent(texts.welcome(room, myName() || nameOf(id)), timestamp);
    },
    user_joined({ clientId: id, timestamp }) {
        addEvent(texts.joined(nameOf(id)), timestamp);
    },
    user_left({ clientId: id, timestamp }) {
        addEvent(texts.left(nameOf(id)), timestamp);
        setTyping(id, '', false);
        names.delete(id);
    },
    chat({ clientId: id, username, message, timestamp }) {
        setTyping(id, '', false);
        addMessage('message', nameOf(id, username), String(message ?? ''),
                   timestamp);
    },
    typing({ clientId: id, username, isTyping }) {
        setTyping(id, nameOf(id, username), isTyping === true);
    },
    error({ message }) {
        showNotice(texts.serverError, String(message ?? ''));
    },
};

function parse(data) {
    try {
        return JSON.parse(data) ?? {};
    }
    catch {
        return {};                      /* not of this chat: ignored */
    }
}

function receive(data) {
    const message = parse(data);
    if (Object.hasOwn(receivers, message.type)) {
        receivers[message.type](message);
    }
}

/* ---- the connection ---- */

function chatAddress() {
    const address = new URL(`/ws/chat/${room}`, location.href);
    address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
    return address;
}

function connect() {
    const started = new WebSocketClient(chatAddress(), {
        heartbeat: () => JSON.stringify({ type: 'ping',
                                          timestamp: new Date() }),
    });
    const listen = (type, handle) => {
        started.addEventListener(type, (event) => {
            if (started === client) {   /* not of a room left before */
                handle(event);
            }
        });
    };
    listen('statechange', ({ detail }) => whenStateChanges(detail));
    listen('message', ({ data }) => receive(data));
    listen('sent', ({ detail }) => showStatus(detail));
    listen('dropped', ({ detail }) => showStatus(detail));
    client = started;
    showState();
}

function disconnect() {
    const left = client;
    client = null;
    left?.close();
}

function whenStateChanges({ state, previous }) {
    if (previous === 'open') {
        clearTypists();
        typingToldAt = 0;
        addEvent(state === 'waiting' ? texts.lost : texts.ended, Date.now());
    }
    showState();
}

function showState() {
    const state = client?.state ?? 'closed';
    const canWait = state === 'waiting' || (client && state === 'closed');
    element('state').dataset.state = state;
    element('state-text').textContent = texts[state];
    element('retry').hidden = !canWait;
    showHint(client !== null && state !== 'open');
    showCountdown();
}

function showHint(offline) {
    const hint = element('hint');
    hint.textContent = offline ? texts.hintOffline : texts.hint;
    hint.classList.toggle('keys', !offline);
}

let countdownTimer;

function showCountdown() {
    clearTimeout(countdownTimer);
    const until = client?.retryAt;
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    element('countdown').textContent = until ? texts.retryIn(seconds) : '';
    if (until) {
        countdownTimer = setTimeout(showCountdown, 500);
    }
}

/* ---- rooms ---- */

/* "." and ".." would be taken out of the path before it is sent. */
function isRoom(name) {
    return /^[A-Za-z0-9._-]{1,64}$/.test(name) && !/^\.{1,2}$/.test(name);
}

const roomOfAddress = () =>
    new URLSearchParams(location.search).get('room') || DEFAULT_ROOM;

function showRoomError(name) {
    const wrong = !isRoom(name);
    const field = element('room');
    element('room-error').textContent = wrong ? texts.roomInvalid : '';
    element('room-error').hidden = !wrong;
    field.ariaInvalid = String(wrong);
    if (wrong) {
        field.setAttribute('aria-describedby', 'room-error');
        field.focus();
    }
    else {
        field.removeAttribute('aria-describedby');
    }
    return wrong;
}

function enterRoom(name) {
    disconnect();
    clearTypists();
    names.clear();
    hideNotice();
    typingToldAt = 0;
    element('messages').replaceChildren();
    element('newest').hidden = true;
    element('room').value = name;
    document.title = texts.title;
    if (!showRoomError(name)) {
        room = name;
        document.title = `${name} – ${texts.title}`;
        connect();
    }
    showState();
}

function mayLeaveRoom() {
    const unsent = client?.queuedMessages ?? 0;
    return unsent === 0 || confirm(texts.leaveUnsent(unsent));
}

function pushRoom(name) {
    const address = new URL(location.href);
    address.searchParams.set('room', name);
    history.pushState(null, '', address);
}

function submitSettings(event) {
    event.preventDefault();
    saveName();
    const name = element('room').value.trim();
    if (showRoomError(name)) {
        return;
    }
    if (client && name === room) {
        client.open();
    }
    else if (mayLeaveRoom()) {
        pushRoom(name);
        enterRoom(name);
    }
    else {
        element('room').value = room;
    }
    element('text').focus();
}

function followHistory() {
    const name = roomOfAddress();
    if (client && name === room) {
        return;
    }
    if (mayLeaveRoom()) {
        enterRoom(name);
    }
    else {
        pushRoom(room);
    }
}

/* ---- writing ---- */

function showCount() {
    const left = MAX_MESSAGE - codePoints(element('text').value.trim());
    const count = element('count');
    element('text').ariaInvalid = String(left < 0);
    count.classList.toggle('over', left < 0);
    count.textContent = '';
    if (left < 0) {
        count.textContent = texts.charactersOver(-left);
    }
    else {
        hideLengthNotice();
    }
    if (left >= 0 && left < COUNT_FROM) {
        count.textContent = texts.charactersLeft(left);
    }
}

function whenTextChanges() {
    showCount();
    tellTyping(element('text').value.trim() !== '');
}

function submitMessage(event) {
    event.preventDefault();
    const field = element('text');
    /* Half a surrogate pair is not UTF-8; the server would refuse it. */
    const message = field.value.trim().toWellFormed();
    if (message === '') {
        return;
    }
    if (codePoints(message) > MAX_MESSAGE) {
        showNotice(texts.tooLong(MAX_MESSAGE));
        return;
    }
    if (!client) {
        showRoomError(element('room').value.trim());
        return;
    }
    sendMessage(field, message);
}

function sendMessage(field, message) {
    tellTyping(false);
    const outgoing = client.send(withName({ type: 'chat', message }));
    if (outgoing.state === 'refused') {
        showNotice(texts.queueFull);
        return;
    }
    field.value = '';
    showCount();
    hideNotice();
    addOwnMessage(message, outgoing);
}

function whenKeyPressed(event) {
    /* Enter also ends a word in an input method, as for Vietnamese. */
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key === 'Enter' && !event.shiftKey && !composing) {
        event.preventDefault();
        element('composer').requestSubmit();
    }
}

function warnOfUnsent(event) {
    if (client?.queuedMessages > 0) {
        event.preventDefault();
    }
}

function connectNow() {
    client?.open();
    element('text').focus();            /* the button is about to vanish */
}

function dismissNotice() {
    hideNotice();
    element('text').focus();
}

function listenToPage() {
    const on = (id, type, handle) =>
        element(id).addEventListener(type, handle);
    on('settings', 'submit', submitSettings);
    on('name', 'change', saveName);
    on('name', 'compositionend', limitName);
    on('name', 'input', (event) => event.isComposing || limitName());
    on('composer', 'submit', submitMessage);
    on('text', 'keydown', whenKeyPressed);
    on('text', 'input', whenTextChanges);
    on('connect', 'click', connectNow);
    on('dismiss', 'click', dismissNotice);
    on('newest', 'click', scrollToEnd);
    on('log', 'scroll', () => {
        if (isAtEnd()) {
            element('newest').hidden = true;
        }
    });
    window.addEventListener('popstate', followHistory);
    window.addEventListener('beforeunload', warnOfUnsent);
}

/* A phone's keyboard makes the list shorter; its end must stay in sight. */
function keepEndInSight() {
    let atEnd = true;
    element('log').addEventListener('scroll', () => { atEnd = isAtEnd(); });
    new ResizeObserver(() => {
        if (atEnd) {
            scrollToEnd();
        }
    }).observe(element('log'));
}

translatePage();
loadName();
listenToPage();
keepEndInSight();
enterRoom(roomOfAddress());
