<?php
// Stores pages through php-memcached: "default", "consistent", "ketama" or "crc".

$options = [
    'default' => [],
    'consistent' => [Memcached::OPT_DISTRIBUTION => Memcached::DISTRIBUTION_CONSISTENT],
    'ketama' => [Memcached::OPT_LIBKETAMA_COMPATIBLE => true],
    'crc' => [Memcached::OPT_HASH => Memcached::HASH_CRC],
];

[, $mode] = $argv;
$pages = new Memcached();
$pages->setOptions($options[$mode] + [
    // By default pages of 2,000 bytes and more are compressed, in a form of its own.
    Memcached::OPT_COMPRESSION => false,
    // In the text protocol it refuses keys that are not ASCII.
    Memcached::OPT_BINARY_PROTOCOL => true,
]);
foreach (array_slice($argv, 2) as $server) {
    [$host, $port, $weight] = explode(':', "$server:0");
    $pages->addServer($host, (int) $port, (int) $weight);
}

while (($line = fgets(STDIN)) !== false) {
    [$key, $page] = explode("\t", rtrim($line, "\n"), 2);
    if (!$pages->set($key, $page, 300)) {
        fwrite(STDERR, "not stored: $key: {$pages->getResultMessage()}\n");
        exit(1);
    }
}
