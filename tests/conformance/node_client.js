// A client with ws for Node: node node_client.js URL [true: offers compression]
// Prints as JSON what it saw in each of the tasks, every one of which has a
// connection of its own.
"use strict";
const crypto = require("crypto");
const WebSocket = require("ws");

const [url, compressed] = process.argv.slice(2);
const MIB = 1 << 20;

class Client {
    constructor() {
        this.ws = new WebSocket(url, {
            rejectUnauthorized: false,  // the certificate is made for the test
            perMessageDeflate: compressed === "true" && { threshold: 0 },
        });
        this.seen = { messages: 0, pongs: 0 };
        // Events come several at a time: they wait here to be asked for.
        this.came = { message: [], pong: [] };
        this.waiting = { message: [], pong: [] };
        for (const name of ["message", "pong"]) {
            this.ws.on(name, (...event) => {
                const resolve = this.waiting[name].shift();
                resolve ? resolve(event) : this.came[name].push(event);
            });
        }
    }

    next(name) {
        const event = this.came[name].shift();
        return event || new Promise((resolve) => {
            this.waiting[name].push(resolve);
        });
    }

    async echo(data, binary) {
        this.ws.send(data, { binary });
        await this.echoed(data, binary);
    }

    async echoed(data, binary) {
        const [message, isBinary] = await this.next("message");
        if (isBinary !== binary || !message.equals(Buffer.from(data))) {
            throw new Error(`sent ${data.length}, got ${message.length}`);
        }
        this.seen.messages++;
    }

    // What came until the connection's end.
    run(task) {
        const { ws, seen } = this;
        ws.on("error", (error) => {
            seen.error = String(error);
        });
        ws.on("open", () => {
            seen.extensions = ws.extensions;
            task(this).catch((error) => {
                seen.error = String(error);
                ws.terminate();
            });
        });
        return new Promise((resolve) => {
            ws.on("close", (code, reason) => {
                resolve({ ...seen, code, reason: reason.toString() });
            });
        });
    }
}

const tasks = {
    async messages(client) {
        for (const size of [0, 1, 125, 126, 65535, 65536, MIB]) {
            await client.echo("x".repeat(size), false);
            await client.echo(crypto.randomBytes(size), true);
        }
        await client.echo("Xin chào, thế giới! ✓ 😀".repeat(500), false);
        for (let i = 0; i < 100; i++) {
            client.ws.send(`message ${i}`);
        }
        for (let i = 0; i < 100; i++) {
            await client.echoed(`message ${i}`, false);
        }
        client.ws.close(1000);
    },
    async fragments(client) {
        client.ws.send("one, ", { fin: false });
        client.ws.send("two, ".repeat(1000), { fin: false });
        client.ws.send("three", { fin: true });
        await client.echoed(`one, ${"two, ".repeat(1000)}three`, false);
        client.ws.close(1000);
    },
    async pings(client) {
        for (let i = 0; i < 10; i++) {
            client.ws.ping(`ping ${i}`);
            const [data] = await client.next("pong");
            client.seen.pongs += data.toString() === `ping ${i}`;
        }
        client.ws.close(1000);
    },
    async reason(client) {
        client.ws.close(3000, "bye");
    },
    async tooBig(client) {
        client.ws.send("x".repeat(MIB + 1));
    },
    async badText(client) {
        client.ws.send(Buffer.from([0x61, 0xff, 0xfe]), { binary: false });
    },
};

(async () => {
    const seen = {};
    for (const [name, task] of Object.entries(tasks)) {
        seen[name] = await new Client().run(task);
    }
    console.log(JSON.stringify(seen));
})();
