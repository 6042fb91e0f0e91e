-- Chats: clients that name conversations and messages themselves, as the AI SDK does, find them again by those names.

ALTER TABLE conversations
-- Half a digest of what the owner's client calls it; NULL: it is known by its id alone.
ADD COLUMN reference uuid;
-- Of two first messages of a chat that are sent at once, one begins the conversation.
CREATE UNIQUE INDEX conversations_by_reference ON conversations (tenant_id, owner_id, reference);

ALTER TABLE conversation_items
-- Half a digest of what a client calls the message. What is sent again under its name is another item.
ADD COLUMN reference uuid;
