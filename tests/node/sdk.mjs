// The `openai` package.

import OpenAI, { toFile } from "openai";

import { release, run, settings } from "./scenario.mjs";

const client = new OpenAI({ baseURL: `${settings.url}/v1`, apiKey: settings.key, maxRetries: 0 });

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

await run({
  async responses({ store, question }) {
    const tools = [{ type: "file_search", vector_store_ids: [store] }];
    const streamed = await all(
      await client.responses.create({ model: "extractive", input: question, tools, stream: true }),
    );
    const helped = client.responses.stream({ model: "extractive", input: question, tools });
    const final = await helped.finalResponse();
    const kept = await client.responses.retrieve(final.id);
    const missing = await client.responses.retrieve("resp_absent").catch((error) => error);
    return {
      types: streamed.map(({ type }) => type),
      numbers: streamed.map(({ sequence_number }) => sequence_number),
      text: final.output_text,
      kept: kept.output_text,
      citations: final.output.at(-1).content[0].annotations,
      missing: { name: missing.constructor.name, status: missing.status, code: missing.code },
    };
  },

  async resume() {
    const begun = await client.responses.create({ model: "held", input: "Hello?", background: true, stream: true });
    const before = [];
    for await (const event of begun) {
      before.push(event);
      if (event.type === "response.output_text.delta") break;
    }
    const { id } = before[0].response;
    const starting_after = before.at(-1).sequence_number;
    const resumed = await client.responses.retrieve(id, { stream: true, starting_after });
    await release();
    const after = await all(resumed);
    const whole = await all(await client.responses.retrieve(id, { stream: true }));
    const stalled = await client.responses.create({ model: "stall", input: "Stay.", background: true });
    const cancelled = await client.responses.cancel(stalled.id);
    return { before, after, whole, cancelled: cancelled.status };
  },

  async conversation() {
    const begun = await client.conversations.create({ metadata: { room: "blue" } });
    const texts = [];
    for (const input of ["one", "two"]) {
      const answer = await client.responses.create({ model: "echo", input, conversation: begun.id });
      texts.push(answer.output_text);
    }
    const items = await all(client.conversations.items.list(begun.id, { order: "asc", limit: 3 }));
    const deleted = await client.conversations.delete(begun.id);
    return { texts, roles: items.map(({ role }) => role), deleted: deleted.deleted };
  },

  async completions() {
    const messages = [{ role: "user", content: "Hello there" }];
    const whole = await client.chat.completions.create({ model: "echo", messages });
    const options = { stream: true, stream_options: { include_usage: true } };
    const chunks = await all(await client.chat.completions.create({ model: "echo", messages, ...options }));
    const runner = client.chat.completions.runTools({
      model: "functions",
      messages,
      tools: [
        {
          type: "function",
          function: { name: "weather", parameters: { type: "object" }, function: () => "blue", parse: JSON.parse },
        },
      ],
    });
    return {
      text: whole.choices[0].message.content,
      pieces: chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? "")),
      usage: chunks.at(-1).usage,
      tools: await runner.finalContent(),
    };
  },

  async batches() {
    const store = await client.vectorStores.create({ name: "from node" });
    const of = client.vectorStores.fileBatches;
    const files = await Promise.all(["one", "two"].map((text) => toFile(Buffer.from(text), `${text}.txt`)));
    const uploaded = await of.uploadAndPoll(store.id, { files });
    const listed = await all(of.listFiles(uploaded.id, { vector_store_id: store.id, limit: 1, order: "asc" }));
    const again = await of.createAndPoll(store.id, {
      files: listed.map(({ id }) => ({ file_id: id, attributes: { from: "node" } })),
    });
    const cancelled = await of.cancel(again.id, { vector_store_id: store.id });
    const member = await client.vectorStores.files.retrieve(listed[0].id, { vector_store_id: store.id });
    const file_id = `file-${"0".repeat(32)}`;
    const missing = await of.create(store.id, { files: [{ file_id }] }).catch((error) => error);
    return { uploaded, again, cancelled, attributes: member.attributes, missing: missing.param };
  },

  async files({ text, question }) {
    const store = await client.vectorStores.create({ name: "from node" });
    const file = await client.files.create({ file: await toFile(Buffer.from(text), "bell.txt"), purpose: "user_data" });
    const added = await client.vectorStores.files.createAndPoll(store.id, { file_id: file.id });
    const found = await all(client.vectorStores.search(store.id, { query: question }));
    const content = await (await client.files.content(file.id)).text();
    const embedded = await client.embeddings.create({ model: "all-minilm-l6-v2", input: question });
    const models = (await all(client.models.list())).map(({ id }) => id);
    await client.files.delete(file.id);
    return {
      status: added.status,
      found: found.map(({ filename, content: [{ text }] }) => [filename, text]),
      content,
      dimensions: embedded.data[0].embedding.length,
      models,
    };
  },
});
