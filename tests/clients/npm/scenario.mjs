// SPDX-License-Identifier: Apache-2.0
// The npm client against a hub: everything that it offers for repositories.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import * as hub from "@huggingface/hub";

const hubUrl = process.env.HF_ENDPOINT;
const accessToken = process.env.HF_TOKEN;
const me = process.argv[2];
const common = { hubUrl, accessToken };
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function all(iterator) {
  const found = [];
  for await (const item of iterator) found.push(item);
  return found;
}

async function read(repo, path, revision) {
  const blob = await hub.downloadFile({ ...common, repo, path, revision });
  assert.ok(blob, path);
  return Buffer.from(await blob.arrayBuffer());
}

const who = await hub.whoAmI(common);
assert.equal(who.type, "user");
assert.equal(who.name, me);

for (const type of ["model", "dataset"]) {
  const repo = { type, name: `${me}/from-npm` };
  const { repoUrl } = await hub.createRepo({ ...common, repo });
  assert.ok(repoUrl.endsWith("/from-npm"), repoUrl);
  assert.equal(await hub.repoExists({ ...common, repo }), true);

  const large = randomBytes(12 * 1024 * 1024);
  await hub.uploadFiles({
    ...common,
    repo,
    commitTitle: "Upload from npm",
    files: [
      { path: "notes/a.txt", content: new Blob(["a text"]) },
      { path: "large.bin", content: new Blob([large]) },
      { path: "汉字.txt", content: new Blob(["字"]) },
    ],
  });
  assert.equal((await read(repo, "notes/a.txt")).toString(), "a text");
  assert.equal((await read(repo, "汉字.txt")).toString(), "字");
  assert.equal(digest(await read(repo, "large.bin")), digest(large));
  const part = await hub.downloadFile({ ...common, repo, path: "large.bin" });
  const slice = Buffer.from(await part.slice(1000, 2000).arrayBuffer());
  assert.ok(slice.equals(large.subarray(1000, 2000)));

  const files = await all(hub.listFiles({ ...common, repo, recursive: true }));
  assert.deepEqual(
    files.filter((file) => file.type === "file").map((file) => file.path).sort(),
    [".gitattributes", "large.bin", "notes/a.txt", "汉字.txt"],
  );
  const info = await hub.fileDownloadInfo({ ...common, repo, path: "large.bin" });
  assert.equal(info.size, large.length);
  assert.equal(await hub.fileExists({ ...common, repo, path: "nothing.txt" }), false);
  const [described] = await hub.pathsInfo({ ...common, repo, paths: ["large.bin"] });
  assert.equal(described.lfs.oid, digest(large));

  const commits = await all(hub.listCommits({ ...common, repo }));
  assert.deepEqual(commits.map((commit) => commit.title), ["Upload from npm", "initial commit"]);

  await hub.commit({
    ...common,
    repo,
    title: "Two at once",
    operations: [
      { operation: "addOrUpdate", path: "b.txt", content: new Blob(["b"]) },
      { operation: "delete", path: "notes/a.txt" },
    ],
  });
  await hub.deleteFile({ ...common, repo, path: "汉字.txt" });
  assert.equal(await hub.downloadFile({ ...common, repo, path: "notes/a.txt" }), null);

  await hub.createBranch({ ...common, repo, branch: "dev" });
  await hub.uploadFile({
    ...common,
    repo,
    branch: "dev",
    file: { path: "dev.txt", content: new Blob(["dev"]) },
  });
  assert.equal((await read(repo, "dev.txt", "dev")).toString(), "dev");
  await hub.deleteBranch({ ...common, repo, branch: "dev" });

  const offered = await hub.uploadFile({
    ...common,
    repo,
    isPullRequest: true,
    file: { path: "offered.txt", content: new Blob(["offered"]) },
  });
  assert.match(offered.pullRequestUrl, /\/discussions\/1$/);
  assert.equal(await hub.checkRepoAccess({ ...common, repo }), undefined);
}

const models = await all(hub.listModels({ ...common, search: { owner: me } }));
assert.deepEqual(models.map((model) => model.name), [`${me}/from-npm`]);
const datasets = await all(hub.listDatasets({ ...common, search: { owner: me } }));
assert.deepEqual(datasets.map((dataset) => dataset.name), [`${me}/from-npm`]);
const info = await hub.modelInfo({ ...common, name: `${me}/from-npm`, additionalFields: ["sha", "tags"] });
assert.match(info.sha, /^[0-9a-f]{40}$/);

await hub.deleteRepo({ ...common, repo: { type: "model", name: `${me}/from-npm` } });
assert.equal(await hub.repoExists({ ...common, repo: { type: "model", name: `${me}/from-npm` } }), false);
await assert.rejects(hub.checkRepoAccess({ ...common, repo: `${me}/from-npm` }), { statusCode: 404 });
console.log("npm: done");
