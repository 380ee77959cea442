// Stores pages through node-memcached.

const readline = require('node:readline');
const util = require('node:util');
const Memcached = require('memcached');

const servers = {};
for (const server of process.argv.slice(2)) {
    const [host, port, weight] = server.split(':');
    servers[`${host}:${port}`] = Number(weight ?? 1);
}
const pages = new Memcached(servers);
const set = util.promisify(pages.set.bind(pages));

async function main() {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const tab = line.indexOf('\t');
        await set(line.slice(0, tab), line.slice(tab + 1), 300);
    }
    pages.end();
}

main();
