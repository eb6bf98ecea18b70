"""Notifications to people and systems about clients.

* `kinds`: what notifications are about, and how they are sent
* `outbox`: write a message for each target, in the transaction of the change
* `attention`: find clients that need attention for a new reason, for the outbox and the signal
* `checkpoints`: sign a checkpoint of each audit log a day, for the outbox
* `targets`: add, edit and remove targets
* `webhook_secrets`: make and encrypt the secrets that sign messages
* `messages`: what a message says, as text, HTML and JSON
* `mail`, `webhooks`: send one message
* `delivery`: deliver what is due
* `log`: list, test and repeat messages
* `worker`: the thread of the stand-alone application
"""
