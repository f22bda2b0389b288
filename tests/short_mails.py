"""Short good mails of the kinds that people get, in six languages, written for the tests.

No model is fitted to them. Each is a subject and a body; either may be empty.
"""

from __future__ import annotations

from collections.abc import Mapping

Mail = tuple[str, str]  # subject, body

ENGLISH: tuple[Mail, ...] = (
    ("hello", ""),
    ("Hi", "Hi there, how are you?"),
    ("test", ""),
    ("Happy birthday!", ""),
    ("Happy new year", "Happy new year to you all! Love, Grandma"),
    ("Your verification code is 483920", ""),
    ("Sign in to your account", "Your code is 771 204. It expires in 10 minutes."),
    ("Your one-time password", "048113 is your one-time password. Do not share it."),
    ("Receipt", "Thank you for your payment of $24.90. Receipt no. 20931."),
    ("Your order has shipped", "Your parcel arrives on Tuesday. Track it with 1Z999AA10123."),
    ("Invoice 2024-117", "Please find the invoice attached."),
    ("Your taxi receipt", "Total: 18.40. Paid by card ending in 4412. Thanks for riding."),
    ("Reminder: dentist", "Your appointment is on Monday at 9:30."),
    ("Reminder", "The library book you borrowed is due tomorrow."),
    ("Don't forget", "Milk, bread, eggs. And the dog."),
    ("Parents' evening", "A reminder that parents' evening is on Thursday at 6 pm."),
    ("Re: dinner on Friday", "Yes!"),
    ("Re: report", "Thanks"),
    ("Re: keys", "ok"),
    ("Re: Re: Sunday", "Perfect, see you then."),
    ("photos", ""),
    ("Fwd: photos from the beach", "Here they are :)"),
    ("IMG_2043.jpg", "Sent from my iPhone"),
    ("Fwd: the kids", "Look how big they are now!"),
)
GERMAN: tuple[Mail, ...] = (
    ("Hallo", ""),
    ("Alles Gute zum Geburtstag!", "Liebe Grüße von uns allen"),
    ("Ihr Bestätigungscode lautet 592017", ""),
    ("Anmeldung", "Ihr Code: 337 810. Er gilt zehn Minuten."),
    ("Ihre Rechnung", "Vielen Dank für Ihren Einkauf. Betrag: 34,50 €."),
    ("Ihr Paket ist unterwegs", "Die Lieferung kommt voraussichtlich am Mittwoch."),
    ("Terminerinnerung", "Ihr Termin beim Zahnarzt ist am Montag um 8:15 Uhr."),
    ("Elternabend", "Wir erinnern an den Elternabend am Donnerstag."),
    ("AW: Abendessen", "Ja, gerne"),
    ("AW: Schlüssel", "Danke!"),
    ("WG: Fotos", ""),
    ("Bilder vom Ausflug", "Hier sind sie. Bis bald!"),
)
FRENCH: tuple[Mail, ...] = (
    ("Bonjour", ""),
    ("Joyeux anniversaire !", "Gros bisous de nous tous"),
    ("Votre code de vérification est 204518", ""),
    ("Connexion", "Voici votre code : 660 912. Il expire dans dix minutes."),
    ("Votre reçu", "Merci pour votre achat. Total : 19,90 €."),
    ("Votre colis est en route", "Livraison prévue mercredi."),
    ("Rappel de rendez-vous", "Votre rendez-vous est lundi à 14 h 30."),
    ("Réunion de parents", "N'oubliez pas la réunion de jeudi soir."),
    ("Re: dîner", "Oui, avec plaisir"),
    ("Re: les clés", "Merci"),
    ("Tr: photos", ""),
    ("Les photos de dimanche", "Les voilà. À bientôt !"),
)
SPANISH: tuple[Mail, ...] = (
    ("Hola", ""),
    ("¡Feliz cumpleaños!", "Un abrazo muy grande de todos"),
    ("Tu código de verificación es 910374", ""),
    ("Inicio de sesión", "Tu código es 118 045. Caduca en diez minutos."),
    ("Tu recibo", "Gracias por tu compra. Total: 27,30 €."),
    ("Tu pedido está en camino", "Llegará el miércoles."),
    ("Recordatorio de cita", "Su cita es el lunes a las 10:00."),
    ("Reunión de padres", "Les recordamos la reunión del jueves."),
    ("Re: cena", "Sí"),
    ("Re: llaves", "Gracias"),
    ("RV: fotos", ""),
    ("Fotos del viaje", "Aquí están. ¡Nos vemos!"),
)
POLISH: tuple[Mail, ...] = (
    ("Cześć", ""),
    ("Wszystkiego najlepszego!", "Sto lat od nas wszystkich"),
    ("Twój kod weryfikacyjny to 640281", ""),
    ("Logowanie", "Kod: 729 103. Wygasa za dziesięć minut."),
    ("Paragon", "Dziękujemy za zakupy. Razem: 84,20 zł."),
    ("Twoja paczka jest w drodze", "Dostawa w środę."),
    ("Przypomnienie o wizycie", "Wizyta u dentysty w poniedziałek o 9:00."),
    ("Zebranie rodziców", "Przypominamy o czwartkowym zebraniu."),
    ("Odp: kolacja", "Tak, chętnie"),
    ("Odp: klucze", "Dzięki"),
    ("PD: zdjęcia", ""),
    ("Zdjęcia z wycieczki", "Proszę bardzo. Do zobaczenia!"),
)
JAPANESE: tuple[Mail, ...] = (
    ("こんにちは", ""),
    ("お誕生日おめでとう", "家族みんなより"),
    ("確認コード: 385126", ""),
    ("ログイン", "認証コードは 402 918 です。10分間有効です。"),
    ("領収書", "お買い上げありがとうございます。合計 2,480円"),
    ("発送のお知らせ", "お荷物は水曜日に届きます。"),
    ("予約の確認", "月曜日の10時に歯医者の予約があります。"),
    ("保護者会", "木曜日の保護者会をお忘れなく。"),
    ("Re: 夕食", "はい"),
    ("Re: 鍵", "ありがとう"),
    ("Fwd: 写真", ""),
    ("旅行の写真", "送ります。またね。"),
)
SHORT_MAILS: Mapping[str, tuple[Mail, ...]] = {
    "English": ENGLISH,
    "German": GERMAN,
    "French": FRENCH,
    "Spanish": SPANISH,
    "Polish": POLISH,
    "Japanese": JAPANESE,
}
