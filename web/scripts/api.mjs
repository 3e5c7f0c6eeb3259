// Writes docs/api/browser: a page for each entry of the built package, with
// every exported name, its signature and its comment. With --check it writes
// nothing, and fails where a page is not what it would write.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import ts from "typescript";
import { client, web } from "./bundle.mjs";

const place = `${web}/../docs/api/browser`;
const entries = {
  index: ["@holdfast/client", "The client: HTTP, the socket, and who is signed in."],
  react: ["@holdfast/client/react", "Providers, hooks and guards for React 18 and newer."],
  compat: ["@holdfast/client/compat", "What `realtimehttpauthclient` 1.0.5 exports, with its names and signatures."],
  testing: ["@holdfast/client/testing", "A server that misbehaves and a browser's profile, for tests. [docs/testing.md](../../testing.md) is the manual."],
};

const fileOf = (entry) => `${client}/dist/${entry === "index" ? "" : `${entry}/`}index.d.ts`;
const program = ts.createProgram(Object.keys(entries).map(fileOf), { moduleResolution: ts.ModuleResolutionKind.Bundler, module: ts.ModuleKind.ESNext });
const checker = program.getTypeChecker();

/** The exports of an entry: name, resolved symbol, and the statements that declare it. */
function exportsOf(entry) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(fileOf(entry)));
  return checker
    .getExportsOfModule(module)
    .map((symbol) => {
      const real = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const nodes = real.declarations.map((node) => (ts.isVariableDeclaration(node) ? node.parent.parent : node));
      return { name: symbol.name, real, nodes, comment: ts.displayPartsToString(real.getDocumentationComment(checker)) };
    })
    .sort((a, b) => (a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1));
}

const kindOf = ([node]) =>
  ts.isFunctionDeclaration(node) ? "Functions" : ts.isClassDeclaration(node) ? "Classes" : ts.isVariableStatement(node) ? "Values" : "Types";

/** The texts of which `keyof` something is one. */
const union = (node) => checker.getTypeAtLocation(node).types.map((one) => `  | ${JSON.stringify(one.value)}`).join("\n");

/** A declaration as it stands in the .d.ts, without what is private and what every declaration begins with. */
const signature = (nodes) =>
  nodes
    .map((node) => (ts.isTypeAliasDeclaration(node) && ts.isTypeOperatorNode(node.type) ? `type ${node.name.text} =\n${union(node)};` : node.getText()))
    .map((text) => text.replace(/^export /, "").replace(/^declare /, ""))
    .join("\n")
    .replace(/^ +(#private;|private .*;)\n/gm, "")
    .replace(/^( {4})+/gm, (indent) => indent.replaceAll("    ", "  "));

/** Names of exports that a declaration mentions. */
function mentioned(nodes, self) {
  const names = new Set();
  const visit = (node) => {
    if (ts.isIdentifier(node) && node.text !== self) {
      const symbol = checker.getSymbolAtLocation(node);
      if (symbol) names.add(symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol);
    }
    ts.forEachChild(node, visit);
  };
  nodes.forEach(visit);
  return names;
}

const all = Object.fromEntries(Object.keys(entries).map((entry) => [entry, exportsOf(entry)]));
const where = new Map(); // symbol → link, the entry where it is first
for (const [entry, list] of Object.entries(all)) {
  for (const { name, real } of list) if (!where.has(real)) where.set(real, { name, entry });
}

const faults = [];
const oneLine = (text) => text.replace(/\s+/g, " ");
// Names in running text that Markdown would take for HTML are code already; a list or an example stays as it is.
const prose = (text) => text.replace(/([^\n.:;])\n(?=[^\n\s*-])/g, "$1 ");
const sentence = (text) => oneLine(text.split("\n\n")[0]).replace(/^(.*?[.:;])(?= |$).*/, "$1").replace(/[:;]$/, ".").replaceAll("|", "\\|");

function page(entry) {
  const [module, about] = entries[entry];
  const list = all[entry];
  const others = Object.keys(entries).filter((one) => one !== entry).map((one) => `[${entries[one][0]}](${one}.md)`);
  const out = [`# ${module}`, about, `Made of the types by \`npm run api\`. Manual: [docs/browser.md](../../browser.md). Other entries: ${others.join(", ")}.`];
  const seen = new Set();
  const kinds = ["Functions", "Classes", "Values", "Types"].map((kind) => [kind, list.filter((one) => kindOf(one.nodes) === kind)]);
  for (const [kind, some] of kinds) {
    if (some.length) out.push([`| ${kind.toLowerCase()} | |`, "|---|---|", ...some.map((one) => `| [\`${one.name}\`](#${one.name.toLowerCase()}) | ${sentence(one.comment)} |`)].join("\n"));
  }
  for (const { name, nodes, comment } of kinds.flatMap(([, some]) => some)) {
    if (!comment) faults.push(`${module}: ${name} has no doc comment`);
    if (seen.has(name.toLowerCase())) faults.push(`${module}: two headings are called ${name}`);
    seen.add(name.toLowerCase());
    const links = [...mentioned(nodes, name)].map((symbol) => where.get(symbol)).filter((found) => found && found.name !== name)
      .map((found) => `[${found.name}](${found.entry === entry ? "" : `${found.entry}.md`}#${found.name.toLowerCase()})`);
    out.push(`## ${name}`, prose(comment), `\`\`\`ts\n${signature(nodes)}\n\`\`\``);
    if (links.length) out.push(`See ${[...new Set(links)].sort().join(", ")}.`);
  }
  return out.join("\n\n") + "\n";
}

const check = process.argv.includes("--check");
const made = Object.keys(entries).map((entry) => [`${entry}.md`, page(entry)]);
if (!check) mkdirSync(place, { recursive: true });
for (const [name, text] of made) {
  const path = `${place}/${name}`;
  if (!check) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text) faults.push(`docs/api/browser/${name} is stale: npm run api`);
}
for (const name of existsSync(place) ? readdirSync(place) : []) if (!made.some(([one]) => one === name)) faults.push(`docs/api/browser/${name} is of no entry`);
if (faults.length) throw new Error(faults.join("\n"));
console.log(`${Object.values(all).flat().length} names on ${made.length} pages`);
