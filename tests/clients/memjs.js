// Stores pages through memjs.

const readline = require('node:readline');
const memjs = require('memjs');

const pages = memjs.Client.create(process.argv.slice(2).join(','));

async function main() {
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const tab = line.indexOf('\t');
        await pages.set(line.slice(0, tab), line.slice(tab + 1), { expires: 300 });
    }
    pages.close();
}

main();
