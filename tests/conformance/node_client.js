// A client with ws for Node: node node_client.js URL TASK [offers compression]
// Prints what it saw as JSON.
"use strict";
const WebSocket = require("ws");

const [url, task, compressed] = process.argv.slice(2);
const ws = new WebSocket(url, {
    rejectUnauthorized: false,      // the certificate is made for the test
    perMessageDeflate: compressed === "true" && { threshold: 0 },
});
const seen = { extensions: null, messages: 0, pongs: 0 };

// Events come several at a time: they wait here until they are asked for.
const came = { message: [], pong: [] };
const waiting = { message: [], pong: [] };
for (const name of ["message", "pong"]) {
    ws.on(name, (...event) => {
        const resolve = waiting[name].shift();
        resolve ? resolve(event) : came[name].push(event);
    });
}

function next(name) {
    const event = came[name].shift();
    return event || new Promise((resolve) => waiting[name].push(resolve));
}

async function echo(data, binary) {
    ws.send(data, { binary });
    await echoed(Buffer.from(data), binary);
}

async function echoed(data, binary) {
    const [message, isBinary] = await next("message");
    if (isBinary !== binary || !data.equals(message)) {
        throw new Error(`sent ${data.length} bytes, got ${message.length}`);
    }
    seen.messages++;
}

const tasks = {
    async messages() {
        for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
            await echo("x".repeat(size), false);
            await echo(require("crypto").randomBytes(size), true);
        }
        await echo("Xin chào, thế giới! ✓ 😀".repeat(500), false);
        for (let i = 0; i < 100; i++) {
            ws.send(`message ${i}`);
        }
        for (let i = 0; i < 100; i++) {
            await echoed(Buffer.from(`message ${i}`), false);
        }
    },
    async fragments() {
        ws.send("one, ", { fin: false });
        ws.send("two, ".repeat(1000), { fin: false });
        ws.send("three", { fin: true });
        await echoed(Buffer.from("one, " + "two, ".repeat(1000) + "three"),
            false);
    },
    async pings() {
        for (let i = 0; i < 10; i++) {
            ws.ping(`ping ${i}`);
            const [data] = await next("pong");
            seen.pongs += data.toString() === `ping ${i}`;
        }
    },
    async close() {
        ws.close(3000, "bye");
        return true;                // closed already
    },
    async too_big() {
        ws.send("x".repeat((1 << 20) + 1));
        return true;                // the server closes
    },
    async bad_text() {
        ws.send(Buffer.from([0x61, 0xff, 0xfe]), { binary: false });
        return true;
    },
};

ws.on("open", async () => {
    seen.extensions = ws.extensions;
    try {
        if (!await tasks[task]()) {
            ws.close(1000);
        }
    }
    catch (error) {
        seen.error = String(error);
        ws.terminate();
    }
});
ws.on("error", (error) => {
    seen.error = String(error);
});
ws.on("close", (code, reason) => {
    seen.code = code;
    seen.reason = reason.toString();
    console.log(JSON.stringify(seen));
});
