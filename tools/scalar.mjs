// Fetches the one file that the reference page needs of its package. `npm install` would bring 243 MB with it.
//
// node tools/scalar.mjs: from the registry that npm is set to, checked against the hash in package.json.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';

const folder = 'node_modules/scalar';
const { name, version, integrity } = JSON.parse(readFileSync('package.json', 'utf8')).reference;
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const fetched = mkdtempSync(join(folder, 'fetched-'));
execFileSync('npm', ['pack', `${name}@${version}`, '--silent', '--pack-destination', fetched]);
const archive = join(fetched, readdirSync(fetched)[0]);
const hash = `sha512-${createHash('sha512').update(readFileSync(archive)).digest('base64')}`;
if (hash !== integrity) {
  rmSync(folder, { recursive: true });
  console.error(`error: ${name}@${version} has the hash ${hash}, not the one in package.json`);
  process.exit(1);
}
const files = ['package/dist/browser/standalone.js', 'package/package.json'];
execFileSync('tar', ['-xzf', archive, '-C', fetched, ...files]);
for (const file of files) renameSync(join(fetched, file), join(folder, basename(file)));
rmSync(fetched, { recursive: true });
