// The page of docs/ui.md, whose module the test has written down, opened, asked, and opened again.

import { createElement } from "react";
import { create } from "react-test-renderer";

import { run, settings } from "./scenario.mjs";

const { loadMessages, useDocuments } = await import(settings.module);

// Opens the page, and waits until it shows what is looked for.
function open(props, look) {
  return new Promise((resolve) => {
    const page = () => {
      const chat = useDocuments(props);
      queueMicrotask(() => look(chat) && resolve({ chat, close: () => root.unmount() }));
      return null;
    };
    const root = create(createElement(page));
  });
}

await run({
  async page({ chat: id, store, text }) {
    let asked = false;
    const first = await open({ id, messages: await loadMessages(id), store }, (chat) => {
      if (!asked) {
        asked = true;
        chat.sendMessage({ text });
      }
      return chat.status === "ready" && chat.messages.length === 2;
    });
    first.close();
    const messages = await loadMessages(id);
    const again = await open({ id, messages, store }, (chat) => chat.messages.length === 2);
    const stopped = await again.chat.stop();
    again.close();
    return { shown: first.chat.messages, kept: again.chat.messages, stopped: stopped.status };
  },
});
