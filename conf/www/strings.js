/* strings.js: every text of the page, in each language it speaks.
 * A text with a gap is a function; names and numbers are put in as text. */

const en = {
    title: 'WebSocket chat',
    skip: 'Skip to the message field',
    about: 'About this demo',
    settings: 'Name and room',
    name: 'Your name',
    room: 'Room',
    join: 'Join',
    log: 'Messages',
    message: 'Message',
    placeholder: 'Write a message',
    send: 'Send',
    dismiss: 'Dismiss',
    newMessages: 'New messages',
    connectNow: 'Connect now',

    connecting: 'Connecting…',
    open: 'Connected',
    waiting: 'Offline',
    closing: 'Disconnecting…',
    closed: 'Disconnected',
    retryIn: (seconds) => `Next attempt in ${seconds} s`,

    hint: 'Enter sends, Shift+Enter starts a new line.',
    hintOffline: 'You can go on writing: messages are kept and sent when ' +
                 'the connection is back.',
    charactersLeft: (count) => `${count} characters left`,
    charactersOver: (count) => `${count} characters too many`,

    you: 'You',
    client: (id) => `Client ${id}`,
    welcome: (room, who) => `You are in the room “${room}” as ${who}.`,
    joined: (who) => `${who} joined.`,
    left: (who) => `${who} left.`,
    lost: 'The connection was lost.',
    ended: 'The server has closed the connection.',
    typingOne: (who) => `${who} is typing…`,
    typingTwo: (one, two) => `${one} and ${two} are typing…`,
    typingMany: (count) => `${count} people are typing…`,

    queued: 'Waiting to be sent',
    sent: 'Sent',
    dropped: 'Not sent',

    serverError: 'The server reports a problem:',
    roomInvalid: 'A room’s name has 1 to 64 characters: the letters A to Z, ' +
                 'digits, “-”, “_” and “.”. It cannot be only “.” or “..”.',
    tooLong: (limit) => `A message can have at most ${limit} characters.`,
    queueFull: 'Too many messages are waiting already. This one stays in ' +
               'the field until the connection is back.',
    leaveUnsent: (count) => `Messages not sent yet: ${count}. ` +
                            'They will be lost. Change the room all the same?',
};

const vi = {
    title: 'Trò chuyện qua WebSocket',
    skip: 'Chuyển đến ô nhập tin nhắn',
    about: 'Giới thiệu',
    settings: 'Tên và phòng',
    name: 'Tên của bạn',
    room: 'Phòng',
    join: 'Vào phòng',
    log: 'Các tin nhắn',
    message: 'Tin nhắn',
    placeholder: 'Nhập tin nhắn',
    send: 'Gửi',
    dismiss: 'Đóng',
    newMessages: 'Tin nhắn mới',
    connectNow: 'Kết nối ngay',

    connecting: 'Đang kết nối…',
    open: 'Đã kết nối',
    waiting: 'Mất kết nối',
    closing: 'Đang ngắt kết nối…',
    closed: 'Đã ngắt kết nối',
    retryIn: (seconds) => `Thử lại sau ${seconds} giây`,

    hint: 'Nhấn Enter để gửi, Shift+Enter để xuống dòng.',
    hintOffline: 'Bạn vẫn có thể viết tiếp: tin nhắn được giữ lại và sẽ ' +
                 'gửi đi khi có kết nối trở lại.',
    charactersLeft: (count) => `Còn ${count} ký tự`,
    charactersOver: (count) => `Thừa ${count} ký tự`,

    you: 'Bạn',
    client: (id) => `Khách ${id}`,
    welcome: (room, who) => `Bạn đang ở phòng “${room}” với tên ${who}.`,
    joined: (who) => `${who} đã vào phòng.`,
    left: (who) => `${who} đã rời phòng.`,
    lost: 'Đã mất kết nối.',
    ended: 'Máy chủ đã đóng kết nối.',
    typingOne: (who) => `${who} đang soạn tin…`,
    typingTwo: (one, two) => `${one} và ${two} đang soạn tin…`,
    typingMany: (count) => `${count} người đang soạn tin…`,

    queued: 'Đang chờ gửi',
    sent: 'Đã gửi',
    dropped: 'Chưa gửi được',

    serverError: 'Máy chủ báo lỗi:',
    roomInvalid: 'Tên phòng dài từ 1 đến 64 ký tự, gồm chữ cái không dấu ' +
                 '(A đến Z), chữ số, “-”, “_” và “.”; không được chỉ là ' +
                 '“.” hoặc “..”.',
    tooLong: (limit) => `Mỗi tin nhắn chỉ được dài tối đa ${limit} ký tự.`,
    queueFull: 'Đã có quá nhiều tin nhắn đang chờ gửi. Tin này vẫn còn ' +
               'trong ô nhập, bạn hãy gửi lại khi có kết nối.',
    leaveUnsent: (count) => `Còn ${count} tin nhắn chưa gửi và sẽ bị mất. ` +
                            'Bạn vẫn muốn đổi phòng?',
};

export const strings = { en, vi };

/**
 * The languages to use: what the address asks for, else the browser's.
 * @param {?string} asked the value of ?lang=
 * @param {readonly string[]} preferred navigator.languages
 * @returns {{language: string, locales: string[]}} the language of the texts
 *     and the locales for times
 */
export function chooseLanguage(asked, preferred) {
    if (asked && Object.hasOwn(strings, asked)) {
        return { language: asked, locales: [asked] };
    }
    const known = preferred
        .map((tag) => tag.toLowerCase().split('-')[0])
        .find((tag) => Object.hasOwn(strings, tag));
    return { language: known ?? 'en', locales: [...preferred] };
}
