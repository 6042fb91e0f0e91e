// `useChat` in a page.

import { lastAssistantMessageIsCompleteWithToolCalls } from "ai";

import { Tab } from "./tab.mjs";
import { ask, release, run, settings } from "./scenario.mjs";

const begun = (tab) => tab.text().startsWith("first");
const ended = (tab) => tab.chunks.at(-1) === "[DONE]";

async function messagesOf(chat, key) {
  return (await ask("GET", `/v1/ui/chat/${chat}/messages`, undefined, key)).body.data;
}

function textsOf(messages) {
  return messages.map(({ role, parts }) => [role, parts.map((part) => part.text ?? "").join("")]);
}

await run({
  async send({ chat, text, body }) {
    const tab = await Tab.open({ id: chat, body });
    await tab.until_done((page) => page.sendMessage({ text }));
    const seen = { ...tab.seen(), kept: await messagesOf(chat) };
    tab.close();
    return seen;
  },

  async refused({ chat, body, parts }) {
    const tab = await Tab.open({ id: chat, body });
    await tab.until_done((page) => page.sendMessage({ parts }));
    const seen = { ...tab.seen(), kept: await messagesOf(chat) };
    tab.close();
    return seen;
  },

  async reload({ chat }) {
    const before = await Tab.open({ id: chat, body: { model: "held" } });
    before.chat.sendMessage({ text: "Hello?" });
    await before.until(begun);
    before.close();
    const messages = await messagesOf(chat);
    const after = await Tab.open({ id: chat, messages, resume: true });
    await after.until(begun);
    await release();
    await after.until((tab) => tab.ends === 1 && ended(tab));
    const idle = await ask("GET", `/v1/ui/chat/${chat}/stream`);
    const late = await Tab.open({ id: chat, messages: await messagesOf(chat), resume: true });
    await late.until((tab) => tab.requests.length === 1);
    const seen = { messages, before: before.seen(), after: after.seen(), late: late.seen(), idle };
    after.close();
    late.close();
    return seen;
  },

  async tabs({ chat }) {
    const one = await Tab.open({ id: chat, body: { model: "held" } });
    one.chat.sendMessage({ text: "Hello?" });
    await one.until(begun);
    const other = await Tab.open({ id: chat, messages: await messagesOf(chat), resume: true });
    await other.until(begun);
    // Closing the one leaves the other what it watches.
    one.close();
    await release();
    await other.until((tab) => tab.ends === 1 && ended(tab));
    await other.until_done((page) => page.sendMessage({ text: "echo" }, { body: { model: "echo" } }));
    const seen = { one: one.seen(), other: other.seen(), kept: await messagesOf(chat) };
    other.close();
    return seen;
  },

  async stop({ chat }) {
    const tab = await Tab.open({ id: chat, body: { model: "held" } });
    const sent = tab.until_done((page) => page.sendMessage({ text: "Hello?" }));
    await tab.until(begun);
    const stopped = await ask("POST", `/v1/ui/chat/${chat}/stop`);
    await sent;
    const again = await ask("POST", `/v1/ui/chat/${chat}/stop`);
    await tab.until_done((page) => page.sendMessage({ text: "Go on." }, { body: { model: "echo" } }));
    const seen = { ...tab.seen(), stopped, again, kept: await messagesOf(chat) };
    tab.close();
    return seen;
  },

  async shared({ chat, reader }) {
    const tab = await Tab.open({ id: chat, body: { model: "held" } });
    const sent = tab.until_done((page) => page.sendMessage({ text: "Hello?" }));
    await tab.until(begun);
    const resumed = await ask("GET", `/v1/ui/chat/${chat}/stream`, undefined, reader);
    const stopped = await ask("POST", `/v1/ui/chat/${chat}/stop`, undefined, reader);
    await release();
    await sent;
    await tab.until(ended);
    const seen = { ...tab.seen(), resumed, stopped, kept: await messagesOf(chat, reader) };
    tab.close();
    return seen;
  },

  async branches({ chat }) {
    const tab = await Tab.open({ id: chat, body: { model: "echo" } });
    const states = [];
    const note = async () => states.push([textsOf(tab.chat.messages), textsOf(await messagesOf(chat))]);
    await tab.until_done((page) => page.sendMessage({ text: "one" }));
    await tab.until_done((page) => page.sendMessage({ text: "two" }));
    await note();
    const [, , question, answer] = tab.chat.messages.map(({ id }) => id);
    await tab.until_done((page) => page.regenerate());
    await note();
    await tab.until_done((page) => page.sendMessage({ text: "two, edited", messageId: question }));
    await note();
    await tab.until_done((page) => page.regenerate());
    await tab.until_done((page) => page.sendMessage({ text: "three" }));
    await note();
    // The first answer of all, by its own id: nothing is left of what followed it.
    await tab.until_done((page) => page.regenerate({ messageId: page.messages[1].id }));
    await note();
    // From here on as after a reload, under the ids by which the service tells of messages.
    tab.close();
    const again = await Tab.open({ id: chat, messages: await messagesOf(chat), body: { model: "echo" } });
    await again.until_done((page) => page.regenerate());
    await again.until_done((page) => page.sendMessage({ text: "edited", messageId: page.messages[0].id }));
    states.push([textsOf(again.chat.messages), textsOf(await messagesOf(chat))]);
    again.close();
    return { states, answer, errors: [...tab.errors, ...again.errors] };
  },

  async twice({ chat }) {
    const tab = await Tab.open({ id: chat, body: { model: "held" } });
    const sent = tab.until_done((page) => page.sendMessage({ text: "Hello?" }));
    await tab.until(begun);
    // As a proxy or a service worker that repeats what it got no answer to.
    const { url, init } = tab.last;
    const { signal, ...rest } = init;
    const copy = await fetch(url, rest);
    const other = { ...rest, body: JSON.stringify({ ...JSON.parse(rest.body), model: "echo" }) };
    const misused = await fetch(url, other);
    await release();
    await sent;
    await tab.until(ended);
    const seen = {
      ...tab.seen(),
      copy: (await copy.text()).split("\n\n").filter((block) => block.startsWith("data: ")).map((block) => block.slice(6)),
      replayed: copy.headers.get("idempotency-replayed"),
      misused: { status: misused.status, body: await misused.json() },
      kept: await messagesOf(chat),
    };
    tab.close();
    return seen;
  },

  async tools({ chat, tools }) {
    const tab = await Tab.open({
      id: chat,
      body: { model: "functions", tools },
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall({ toolCall }) {
        const { toolName, toolCallId, input } = toolCall;
        const failing = toolName === "tides";
        tab.chat.addToolOutput(
          failing
            ? { tool: toolName, toolCallId, state: "output-error", errorText: "no tides today" }
            : { tool: toolName, toolCallId, output: { asked: input.asked, sky: "blue" } },
        );
      },
    });
    tab.chat.sendMessage({ text: "What is the weather like?" });
    await tab.until((seen) => seen.ends === 2);
    const seen = { ...tab.seen(), kept: await messagesOf(chat) };
    await tab.until_done((page) => page.regenerate({ messageId: page.messages[1].id }));
    tab.close();
    return seen;
  },

  async revoked({ chat, reader, body, grant }) {
    const tab = await Tab.open({ id: chat, key: reader, body });
    const sent = tab.until_done((page) => page.sendMessage({ text: settings.text }));
    await tab.until((seen) => seen.text().length > 0);
    const gone = await ask("DELETE", `/v1/grants/${grant}`);
    await sent;
    await tab.until(ended);
    const seen = { ...tab.seen(), gone: gone.status, kept: await messagesOf(chat, reader) };
    tab.close();
    return seen;
  },
});
