-- Tags: words by which an owner groups tasks.
--
-- A task has its tags in its row, for reading. Filters, counts and renames use the table task_tag instead, which triggers
-- keep: PostgreSQL does not consider the operators of arrays leakproof, so that under row-level security they would use no
-- index (ADR 50).

-- The functions below that say so keep this search path.
select set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

alter table task
  add column tags text[] not null default '{}',
  add constraint chk_tags check (cardinality(tags) <= 20) not valid; -- every row has none

alter table task validate constraint chk_tags; -- under a lock that lets others read and write

-- Folds the letters outside of ASCII for fold_tag. The object is a constant of the plan, in which a letter is found by binary
-- search.
create function fold_letters(name text) returns text
language plpgsql immutable parallel safe as $$
begin
  return (
    select string_agg(coalesce(jsonb_object(
      string_to_array(
        'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąć' ||
        'ĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷŸźżžſƃ' ||
        'ƅƈƌƒƙơƣƥƨƭưƴƶƹƽǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǶǷǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗ' ||
        'șțȝȟȠȣȥȧȩȫȭȯȱȳȼȽɂɃɇɉɋɍɏɓɔɖɗəɛɠɣɨɩɯɲɵʀʃʈʉʊʋʌʒͱͳͷΙΜάέήίαβγδεζη' ||
        'θικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϳϴϵϸϹϻϽϾϿабвгдежзи' ||
        'йклмнопрстуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґ' ||
        'ғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉ' ||
        'ԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆᏸᏹᏺ' ||
        'ᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿḁḃḅ' ||
        'ḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽ' ||
        'ṿẁẃẅẇẉẋẍẏẑẓẕẛẞạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻ' ||
        'ỽỿἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙ' ||
        'ᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾸᾹᾺΆᾼιῈΈῊΉῌῘῙῚΊῨῩῪΎῬῸΌῺΏῼΩKÅⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄ' ||
        'ⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑ' ||
        'ⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡⱢⱣⱤⱥⱦⱨⱪⱬⱭⱮⱯⱰⱳⱶⱾⱿⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹ' ||
        'ⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣ' ||
        'ⴤⴥⴧⴭꙁꙃꙅꙇꙉꙊꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇ' ||
        'ꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼꝽꝿꞁꞃꞅꞇꞌꞍꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩꞪꞫꞬꞭꞮꞰꞱꞲꞵꞷꞹꞻꞽꞿꟁꟃꟄꟅ' ||
        'Ᶎꟈꟊꟑꟗꟙꟶꭓꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣ' ||
        'ꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩𐐪𐐫𐐬𐐭' ||
        '𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱' ||
        '𐓲𐓳𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎' ||
        '𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗' ||
        '𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯𞤰𞤱𞤲𞤳𞤴𞤵' ||
        '𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃', null),
      string_to_array(
        'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆ' ||
        'ĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶÿŹŻŽsƂ' ||
        'ƄƇƋƑƘƠƢƤƧƬƯƳƵƸƼǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴƕƿǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖ' ||
        'ȘȚȜȞƞȢȤȦȨȪȬȮȰȲȻƚɁƀɆɈɊɌɎƁƆƉƊƏƐƓƔƗƖƜƝƟƦƩƮɄƱƲɅƷͰͲͶͅµΆΈΉΊΑΒΓΔΕΖΗ' ||
        'ΘͅΚΛµΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡͿΘΕϷϲϺͻͼͽАБВГДЕЖЗИ' ||
        'ЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐ' ||
        'ҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈ' ||
        'ԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᏰᏱᏲ' ||
        'ᏳᏴᏵВДОСТТЪѢაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿḀḂḄ' ||
        'ḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼ' ||
        'ṾẀẂẄẆẈẊẌẎẐẒẔṠßẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺ' ||
        'ỼỾἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑ' ||
        'ᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾰᾱὰάᾳͅὲέὴήῃῐῑὶίῠῡὺύῥὸόὼώῳΩkÅℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃ' ||
        'ⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡ' ||
        'ⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠɫᵽɽȺȾⱧⱩⱫɑɱɐɒⱲⱵȿɀⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸ' ||
        'ⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃ' ||
        'ჄჅჇჍꙀꙂꙄꙆꙈᲈᲈꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆ' ||
        'ꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻᵹꝾꞀꞂꞄꞆꞋɥꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨɦɜɡɬɪʞʇʝꞴꞶꞸꞺꞼꞾꟀꟂꞔʂ' ||
        'ᶎꟇꟉꟐꟖꟘꟵꞳᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓ' ||
        'ᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁𐐂𐐃𐐄𐐅' ||
        '𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉' ||
        '𐓊𐓋𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎' ||
        '𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷' ||
        '𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍𞤎𞤏𞤐𞤑𞤒𞤓' ||
        '𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡', null)
    ) ->> letter, letter), '' order by at)
    from string_to_table(lower(name collate "C"), null) with ordinality as split (letter, at)
  );
end;
$$;

-- Folds the case of a tag: Unicode's simple case folding, in which tags are compared. Each letter becomes the least of those
-- that differ by case only, or the small one of ASCII. store.FoldTag does the same, and a test compares the two.
create function fold_tag(name text) returns text
language sql immutable parallel safe as $$
  select case when octet_length(name) = char_length(name) then lower(name collate "C") else fold_letters(name) end
$$;

-- Returns tags without those that differ from an earlier one by case only. Only tags of the same length can do that, since one
-- character is folded to one.
create function unique_tags(tags text[]) returns text[]
language plpgsql immutable parallel safe as $$
begin
  return (
    select coalesce(array_agg(name order by at), '{}')
    from (
      select distinct on (length, folded) name, at
      from (
        select name, at, length, case when count(*) over (partition by length) > 1 then fold_tag(name) end as folded
        from unnest(tags) with ordinality as given (name, at), char_length(name) as length
      ) as lengths
      order by length, folded, at
    ) as firsts
  );
end;
$$;

-- Returns tags without those that are removed, whatever the case, and then with those that are added. Null changes nothing.
create function change_tags(tags text[], added text[], removed text[]) returns text[]
language plpgsql immutable parallel safe as $$
declare
  lengths constant int[] := array(select char_length(name) from unnest(removed) as name);
  gone constant text[] := array(select fold_tag(name) from unnest(removed) as name);
begin
  return unique_tags(array(
    select name
    from unnest(tags) with ordinality as kept (name, at)
    where case when char_length(name) = any (lengths) then fold_tag(name) <> all (gone) else true end
    order by at
  ) || coalesce(added, '{}'));
end;
$$;

-- Returns tags with another name for the one whose folded name is given.
create function rename_tag(tags text[], folded text, renamed text) returns text[]
language plpgsql immutable parallel safe as $$
begin
  return unique_tags(array(
    select case when char_length(name) <> char_length(folded) then name when fold_tag(name) = folded then renamed else name end
    from unnest(tags) with ordinality as given (name, at)
    order by at
  ));
end;
$$;

-- Returns the links of a task with some tags. Of those that differ by case only, the first counts.
create function tag_links(tags text[]) returns table (folded text, name text)
language sql immutable parallel safe rows 20 as $$
  select distinct on (links.folded) links.folded, links.name
  from (
    select fold_tag(given.name) as folded, given.name, given.at
    from unnest(tags) with ordinality as given (name, at)
  ) as links
  order by links.folded, links.at
$$;

-- Returns how the links change with the tags of a task. A link without a name is to be deleted. As few tags as possible are
-- folded: those whose length occurs among the tags that differ.
create function changed_links(previous text[], present text[]) returns table (folded text, name text)
language plpgsql immutable parallel safe rows 2 as $$
begin
  return query
  select link.folded, link.has
  from (
    select char_length(given.name) as length, array_agg(given.name order by given.at) as tags
    from unnest(previous) with ordinality as given (name, at)
    group by length
  ) as was
  full join (
    select char_length(given.name) as length, array_agg(given.name order by given.at) as tags
    from unnest(present) with ordinality as given (name, at)
    group by length
  ) as has on has.length = was.length
  cross join lateral (
    select coalesce(gone.folded, changed.folded) as folded, gone.name as was, changed.name as has
    from tag_links(was.tags) as gone
    full join tag_links(has.tags) as changed on changed.folded = gone.folded
  ) as link
  where has.tags is distinct from was.tags and link.has is distinct from link.was;
end;
$$;

-- One row for each tag of each task. Like task_summary it has no foreign key: checking one would wait for the deletion of
-- a user, which waits for the task. The triggers below delete its rows with the tasks.
create table task_tag (
  user_id varchar(255) not null,
  folded  varchar(50) collate "C" not null, -- fold_tag(name)
  task_id varchar(255) not null,
  name    varchar(50) collate "C" not null,
  primary key (user_id, folded, task_id)
);

-- Makes the rows of task_tag those of the tasks that a statement has changed. Most changes leave the tags as they are.
create function record_tags() returns trigger
language plpgsql security definer set search_path from current set jit = off as $$
begin
  if tg_op = 'UPDATE' then
    if not exists (
      select
      from old_rows as previous
      full join new_rows as changed on changed.user_id = previous.user_id and changed.id = previous.id
      where changed.tags is distinct from previous.tags
    ) then
      return null;
    end if;
  end if;
  if tg_op = 'INSERT' then
    insert into task_tag (user_id, folded, task_id, name)
    select user_id, folded, id, name
    from new_rows, tag_links(tags);
  elsif tg_op = 'DELETE' then
    delete from task_tag as link
    using (
      select user_id, id, fold_tag(name) as folded
      from old_rows, unnest(tags) as name
    ) as gone
    where link.user_id = gone.user_id and link.folded = gone.folded and link.task_id = gone.id;
  else
    with change as materialized (
      select coalesce(changed.user_id, previous.user_id) as user_id, coalesce(changed.id, previous.id) as id, link.folded, link.name
      from old_rows as previous
      full join new_rows as changed on changed.user_id = previous.user_id and changed.id = previous.id
      cross join lateral changed_links(previous.tags, changed.tags) as link
      where changed.tags is distinct from previous.tags
    ), deleted as (
      delete from task_tag as link
      using change
      where link.user_id = change.user_id and link.folded = change.folded and link.task_id = change.id and change.name is null
    )
    insert into task_tag (user_id, folded, task_id, name)
    select user_id, folded, id, name
    from change
    where name is not null
    on conflict (user_id, folded, task_id) do update set name = excluded.name;
  end if;
  return null;
end;
$$;

-- Makes all rows of task_tag anew, for a database whose tasks were loaded without their triggers.
create function task_tag_rebuild() returns void
language plpgsql set search_path from current as $$
begin
  lock task in share row exclusive mode;
  delete from task_tag;
  alter table task_tag disable trigger task_tag_restored;
  insert into task_tag (user_id, folded, task_id, name)
  select user_id, folded, id, name
  from task, tag_links(tags);
  alter table task_tag enable trigger task_tag_restored;
end;
$$;

create function truncate_tags() returns trigger
language plpgsql security definer set search_path from current as $$
begin
  delete from task_tag;
  return null;
end;
$$;

-- Ignores a row: that of a restored table, whose rows the triggers of task make.
create function ignore_row() returns trigger
language plpgsql as $$
begin
  return null;
end;
$$;

revoke execute on function record_tags(), truncate_tags() from public;

create trigger task_tags_insert
  after insert on task
  referencing new table as new_rows
  for each statement execute function record_tags();

create trigger task_tags_update
  after update on task
  referencing old table as old_rows new table as new_rows
  for each statement execute function record_tags();

create trigger task_tags_delete
  after delete on task
  referencing old table as old_rows
  for each statement execute function record_tags();

create trigger task_tags_truncated
  after truncate on task
  for each statement execute function truncate_tags();

create trigger task_tag_restored
  before insert on task_tag
  for each row when (pg_trigger_depth() = 0) execute function ignore_row();

grant select on task_tag to docket_app;
select isolate_by_owner('task_tag');

---- create above / drop below ----

drop trigger task_tags_insert on task;
drop trigger task_tags_update on task;
drop trigger task_tags_delete on task;
drop trigger task_tags_truncated on task;
drop table task_tag;
drop function
  record_tags(), truncate_tags(), ignore_row(), task_tag_rebuild(), changed_links(text[], text[]), tag_links(text[]),
  rename_tag(text[], text, text), change_tags(text[], text[], text[]), unique_tags(text[]), fold_tag(text), fold_letters(text);
alter table task drop column tags;
