"""Search: the legs propose, one statement authorises and reads."""
